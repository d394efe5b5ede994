"""Exports of real trainers, scaled down, are what their entries say (tests/foreign_exports)."""

import hashlib
import json
from pathlib import Path

import pytest

from guardianflow.vision.ir.foreign import open_foreign

FOLDER = Path(__file__).parents[1] / "foreign_exports"
ENTRIES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
ONE_MIB = 2**20
# As OpenVINO calls the types of ONNX.
TYPES = {"float": "f32", "int64": "i64", "int32": "i32", "uint8": "u8"}


def describe(ports) -> list[dict]:
    return [
        {
            "name": port["name"],
            "type": TYPES[port["type"]],
            "shape": [side if isinstance(side, int) else -1 for side in port["shape"]],
        }
        for port in ports
    ]


def test_every_export_has_an_entry_with_detections_in_some_of_the_frames():
    assert {path.stem for path in FOLDER.glob("*.onnx")} == set(ENTRIES)
    frames = {path.stem for path in (FOLDER / "frames").glob("*.png")}
    assert len(ENTRIES) >= 25
    assert all(set() < set(entry["detections"]) <= frames for entry in ENTRIES.values())


@pytest.mark.parametrize("name", ENTRIES)
def test_an_export_is_the_file_that_its_entry_describes(name):
    entry, path = ENTRIES[name], FOLDER / f"{name}.onnx"
    assert path.stat().st_size <= ONE_MIB
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]


@pytest.mark.parametrize("name", ENTRIES)
def test_an_export_opens_with_the_ports_of_its_entry(name):
    entry = ENTRIES[name]
    named = () if entry["names_in"] == "metadata `names`" else entry["classes"]
    foreign = open_foreign(FOLDER / f"{name}.onnx", classes=named)
    assert list(foreign.names) == entry["classes"]
    inputs = describe(entry["inputs"])
    assert [port.any_name for port in foreign.model.inputs] == [port["name"] for port in inputs]
    for port, said in zip(foreign.model.inputs, inputs, strict=True):
        assert port.element_type.get_type_name() == said["type"]
        sides = [-1 if side.is_dynamic else side.get_length() for side in port.partial_shape]
        assert sides == said["shape"]
    assert {name for port in foreign.model.outputs for name in port.names} >= {
        port["name"] for port in entry["outputs"]
    }


@pytest.mark.parametrize("name", ENTRIES)
def test_the_detections_can_tell_a_right_reading_from_a_wrong_one(name):
    found = ENTRIES[name]["detections"]
    assert len({row[5] for rows in found.values() for row in rows}) >= 3
    for rows in found.values():
        scores = [row[4] for row in rows]
        assert len(rows) >= 5
        assert scores == sorted(scores, reverse=True)
        assert scores[0] - scores[-1] > 0.05
        assert len({tuple(row[:4]) for row in rows}) >= len(rows) / 2
