"""The benchmarks of INT8, with tiny sizes; the figures themselves are taken on a quiet machine."""

import pytest

from benchmarks import accuracy_drop, answers, latency
from benchmarks.figures import machine
from benchmarks.runtimes import CLASSES, SYMMETRIC, shape_of
from guardianflow.vision.network.detector import Architecture, DetectorShape


def test_who_begins_changes_and_every_round_is_kept():
    order = []
    times = latency.race({name: lambda n=name: order.append(n) for name in "abc"}, 4)
    assert {name: len(values) for name, values in times.items()} == dict.fromkeys("abc", 4)
    assert "".join(order[:6]) == "abcbca"


def test_the_page_compares_with_bf16_only_where_the_processor_has_it():
    pair = {"ratio": 1.5, "low": 1.4, "high": 1.6}
    names = ("openvino f32", "openvino default", "torch eager", "onnxruntime int8")

    def figures(default, instructions, **symmetric):
        one = {
            "size": "32x640",
            "threads": 1,
            "kind": "model",
            "default": default,
            "int8 against": dict.fromkeys(names, pair),
            **symmetric,
        }
        return {"machine": {"instructions": instructions}, "results": [one, {**one, "threads": 2}]}

    with_bf16 = latency.rows(figures("bf16", ["avx2", "avx512_vnni"]))
    without = latency.rows(figures("f32", ["avx2"]))
    assert len(with_bf16) == len(without) + 1 == 4
    goals = {row[0].rpartition("against ")[2]: row[1] for row in with_bf16}
    assert goals["openvino default (bf16)"] == ">= 1.3×"
    assert goals["openvino f32"] == ">= 2.5×"
    assert without[0][1] == ">= 1.6×"
    assert without[0][2] == "1.50× (1.40–1.60)"
    faster = {name: {"ratio": 2, "low": 1.9, "high": 2.1} for name in names}
    both = latency.rows(figures("f32", ["avx2"], **{"int8 performance against": faster}))
    assert both[0][2] == "1.50× (1.40–1.60); preset performance 2.00× (1.90–2.10)"
    # Whatever the processor is: limited to AVX2 it has no VNNI, and ONNX Runtime knows no limit.
    limited = latency.rows({**figures("f32", ["avx2", "amx_int8"]), "limited_to": "AVX2"})
    assert [row[1] for row in limited] == [">= 1.6×", ">= 3.0×"]
    assert all("limited to AVX2" in row[0] and "--isa AVX2" in row[3] for row in limited)


def test_all_runtimes_see_the_same_network(tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra `bench` is not installed")
    found = latency.measure(["4x64"], [1], 2, compiled=False)
    model, frame = found["results"]
    assert set(model["latency"]) == {
        *("torch eager", "onnxruntime fp32", "onnxruntime int8"),
        *("openvino f32", "openvino default", "openvino int8", "openvino int8 performance"),
    }
    assert "openvino int8, Python around it" in frame["latency"]
    assert latency.rows({"machine": machine(), **found})


def test_nanodet_is_told_beside_onnxruntime_with_the_same_weights():
    assert shape_of("8x256") == DetectorShape(len(CLASSES), 8, 256)
    nanodet = DetectorShape(len(CLASSES), 32, 320, Architecture.NANODET_G)
    assert shape_of(latency.NANODET_SIZES[0]) == nanodet
    names = ("openvino f32", "openvino default", "openvino int8")
    times = {name: [0.02, 0.02] for name in names}
    times |= {f"openvino {SYMMETRIC}": [0.02, 0.02]}
    times |= {"onnxruntime fp32": [0.03, 0.03], "onnxruntime int8": [0.05, 0.05]}
    one = {"size": "nanodet_g@320", "threads": 1, "kind": "frame", "default": "bf16"}
    rows = latency.nanodet_rows({"results": [{**one, **latency.judged(times)}]})
    assert [row[2] for row in rows] == [
        "20 ms against 20: 1.00× (1.00–1.00)",
        "20 ms against 30: 1.50× (1.50–1.50)",
        "20 ms against 30: 1.50× (1.50–1.50)",
        "20 ms against 50: 2.50× (2.50–2.50)",
    ]
    assert "default (bf16)" in rows[2][0]
    limited = {"limited_to": "AVX2", "results": [{**one, **latency.judged(times)}]}
    assert len(latency.nanodet_rows(limited)) == 1


def test_the_drop_is_told_in_points_with_the_class_that_lost_most():
    lost = {"value": -0.001, "low": -0.002, "high": 0.0005}
    worst = {"value": -0.004, "low": -0.006, "high": -0.001}
    one = {
        "scenario": "s v1",
        "images": 5000,
        "preset": "mixed",
        "difference": {"map50_95": lost, "recall": {"person": lost, "mask": worst}},
    }
    rows = accuracy_drop.rows({"results": [one, {**one, "images": 72}]})
    assert rows[0][1:3] == ("loses <= 0.2 points", "-0.10 points (-0.20 to +0.05)")
    assert "recall of mask" in rows[1][0]
    assert rows[1][2] == "-0.40 points (-0.60 to -0.10)"
    assert rows[2][1] == "the interval stated"
    started = {**one, "images": 72, "start": "coco"}
    coco = accuracy_drop.rows({"results": [started]})
    assert [row[1] for row in coco] == ["loses <= 0.5 points", "the interval stated"]
    assert "NanoDet-g" in coco[0][0]
    (first, second) = answers.int8({"accuracy-drop": {"results": [started]}})
    assert first[1:3] == ("≤ 0.5 points", "yes, -0.10 points (-0.20 to +0.05)")
    assert second[1] == "-"
