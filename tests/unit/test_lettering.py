"""Names of other people's classes in figures, pictures, metrics and IRs."""

import warnings

import numpy as np
import pytest
from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, _validate_metric_name
from PIL import Image

from guardianflow.names import class_key, metric_key
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.ir.ir import join_names
from guardianflow.vision.ir.serving import split_names
from guardianflow.vision.metrics import lettering
from guardianflow.vision.metrics.curves import confusion_table, threshold_curves
from guardianflow.vision.metrics.detections import Detections, Seen
from guardianflow.vision.metrics.mistakes import judge_boxes
from guardianflow.vision.metrics.pictures import draw_detections

NAMES = ("안전모", "Safety Vest (50 %)", "_$a$b$^{", "../x", ".", "NO-Hardhat", "a,b", "[x]")


@pytest.mark.parametrize("font", [True, False])
def test_figures_bear_any_name_with_and_without_a_font_for_it(tmp_path, monkeypatch, font):
    if not font:
        monkeypatch.setattr(lettering, "_wide", lambda: None)
        assert lettering.drawn_names(NAMES)[:2] == ["class 0", "Safety Vest (50 %)"]
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64), (90, 0, 0)).save(path)
    boxes = np.array([[n, n, n + 20, n + 20] for n in range(len(NAMES))], np.float32)
    classes = np.arange(len(NAMES))
    samples = [Sample(path, boxes, classes, (64, 64))]
    found = Detections(boxes, np.full(len(NAMES), 0.9), classes)
    seen = Seen([found], (0.5,) * len(NAMES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threshold_curves(seen, samples, NAMES, tmp_path / "curves.png")
        confusion_table(judge_boxes(seen, samples, NAMES), NAMES, tmp_path / "table.png")
    drawn = draw_detections(np.zeros((64, 64, 3), np.uint8), found, NAMES, samples[0])
    assert np.asarray(drawn).any()


def test_every_name_has_a_key_in_mlflow_of_its_own():
    keys = [metric_key(f"test.recall_at_least.{name}") for name in (*NAMES, "a;b", "a:b", "x" * 40)]
    for key in keys:
        _validate_metric_name(key)
    assert len(set(keys)) == len(keys)
    bare = [metric_key(name) for name in (*NAMES, "..", "...", "..x", ".x", ":2e:.", "(" * 80)]
    bare.append(metric_key("(" * 79 + ")"))
    for key in bare:
        _validate_metric_name(key)
        assert len(key) <= MAX_ENTITY_KEY_LENGTH
    assert len(set(bare)) == len(bare)
    _validate_metric_name(metric_key("test.fp32.recall_at_least." + "(" * 40))
    # What was kept by an older version is found by the same key.
    assert metric_key("test.recall.no_helmet") == "test.recall.no_helmet"


def test_spellings_of_one_class_have_one_key():
    spellings = ("NO-Hardhat", "no_hardhat", "No  Hardhat ", "ＮＯ-Hardhat")
    assert {class_key(spelling) for spelling in spellings} == {"no_hardhat"}
    assert class_key("nohardhat") != class_key("no hardhat")


def test_an_ir_carries_any_names():
    assert split_names(join_names(NAMES)) == NAMES
    assert join_names(["person", "no_helmet"]) == "person,no_helmet"
    assert split_names("person,no_helmet") == ("person", "no_helmet")
