"""An import finds in a frame what the trainer of the file finds (tests/foreign_exports).

Lands with the import: put it beside tests/unit/test_foreign_exports.py.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guardianflow.vision.ir import ir
from guardianflow.vision.ir.adaptation import adapt
from guardianflow.vision.ir.foreign import open_foreign
from guardianflow.vision.ir.reading import Reading
from guardianflow.vision.ir.serving import OVERLAP, InputGeometry, IrDetector

FOLDER = Path(__file__).parents[1] / "foreign_exports"
ENTRIES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
PLACEMENTS = {"letterbox-centre": "centre", "letterbox-corner": "corner", "stretch": "stretch"}
# Nothing in these files or their ports says what a trainer takes pixels to be: a person says it,
# or the val split tells.
SILENT = {"yolox", *(name for name in ENTRIES if name.startswith(("transformers-", "yolov7")))}
# A trainer that rounds boxes to whole pixels is half a pixel off.
NEAR_PX, NEAR_SCORE = 0.6, 0.002
# Stretched by another filter, random weights find other boxes in part; read wrongly, in none.
LETTERBOXED, STRETCHED = 0.9, 0.5


def said(entry) -> dict:
    """What a person has to say of a silent file."""
    pixels = entry["preprocessing"]
    return {
        "input_range": pixels["range"],
        "channel_order": pixels["channels"],
        "mean": tuple(pixels["mean"]) if any(pixels["mean"]) else None,
        "std": tuple(pixels["std"]) if set(pixels["std"]) != {1} else None,
        "placement": PLACEMENTS[pixels["resize"]],
    }


def imported(entry, folder: Path, **reading) -> IrDetector:
    metadata = entry["names_in"].startswith("metadata")
    foreign = open_foreign(FOLDER / entry["file"], classes=() if metadata else entry["classes"])
    adapted = adapt(foreign, range(4), Reading(size=160, **reading), ())
    ir.describe(
        adapted.model,
        classes=entry["classes"],
        precision=adapted.precision,
        geometry=InputGeometry(*adapted.side, adapted.placement),
    )
    ir.save(adapted.model, folder)
    return IrDetector(folder)


def overlap(one, other) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common) if common else 0.0


def share_found(detector, entry) -> float:
    """The share of the trainer's detections that ours finds, suppressed as ours are."""
    wanted = found = 0
    for name, rows in entry["detections"].items():
        frame = np.asarray(Image.open(FOLDER / "frames" / f"{name}.png").convert("RGB"))
        kept = []
        for row in rows:
            if not any(row[5] == one[5] and overlap(row, one) > OVERLAP for one in kept):
                kept.append(row)
        (ours,) = detector.predict([frame], 0.01)
        height, width = frame.shape[:2]
        for *box, score, label in kept:
            wanted += 1
            found += any(
                label == one_label
                and abs(score - one_score) < limit(entry, NEAR_SCORE, 0.05)
                and np.abs(np.clip(box, 0, [width, height] * 2) - one_box).max()
                < limit(entry, NEAR_PX, 2)
                for one_box, one_score, one_label in zip(
                    ours["boxes"], ours["scores"], ours["class_ids"], strict=True
                )
            )
    return found / wanted


def limit(entry, letterboxed, stretched):
    return stretched if entry["preprocessing"]["resize"] == "stretch" else letterboxed


@pytest.mark.parametrize("name", ENTRIES)
def test_an_import_finds_what_the_trainer_finds(name, tmp_path):
    entry = ENTRIES[name]
    detector = imported(entry, tmp_path, **(said(entry) if name in SILENT else {}))
    assert share_found(detector, entry) >= limit(entry, LETTERBOXED, STRETCHED)


@pytest.mark.parametrize("name", ["ultralytics-yolov8", "yolov5", "getitune-dfine", "dfine"])
def test_turned_channels_are_noticed(name, tmp_path):
    entry = ENTRIES[name]
    turned = "bgr" if entry["preprocessing"]["channels"] == "rgb" else "rgb"
    detector = imported(entry, tmp_path, **(said(entry) | {"channel_order": turned}))
    assert share_found(detector, entry) < 0.2
