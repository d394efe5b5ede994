from pathlib import Path

import numpy as np
import pytest

from guardianflow.vision.data.dataset import Sample
from guardianflow.vision.metrics.detections import Detections, detections_of
from guardianflow.vision.metrics.evaluation import evaluate

CLASSES = ("person", "helmet")


def sample(*objects, size=(100, 100)):
    return Sample(
        Path("unused.png"),
        np.array([box for box, _ in objects], np.float32).reshape(-1, 4),
        np.array([label for _, label in objects], np.int64),
        size,
    )


def found(*entries):
    return Detections(
        np.array([box for box, _, _ in entries], np.float32).reshape(-1, 4),
        np.array([score for _, _, score in entries], np.float32),
        np.array([label for _, label, _ in entries], np.int64),
    )


LEFT, RIGHT = [10, 10, 40, 60], [55, 10, 90, 60]


def test_perfect_detections_score_one():
    samples = [sample((LEFT, 0), (RIGHT, 1)), sample((RIGHT, 0))]
    result = evaluate(
        [found((LEFT, 0, 0.9), (RIGHT, 1, 0.8)), found((RIGHT, 0, 0.7))], samples, CLASSES
    )
    assert result.map50 == pytest.approx(1.0)
    assert result.map50_95 == pytest.approx(1.0)
    assert result.false_alarms_per_image == 0
    assert (result.images, result.objects) == (2, 3)
    assert result.per_class["person"].objects == 2
    assert result.per_class["person"].recall == result.per_class["person"].precision == 1.0


def test_nothing_found_scores_zero():
    result = evaluate([found()], [sample((LEFT, 0))], CLASSES)
    assert result.map50 == 0
    assert result.per_class["person"].recall == 0
    assert result.per_class["person"].precision == 1.0


def test_a_class_without_objects_does_not_count():
    result = evaluate([found((LEFT, 0, 0.9))], [sample((LEFT, 0))], CLASSES)
    assert result.map50 == pytest.approx(1.0)
    assert list(result.per_class) == ["person"]


def test_images_without_any_objects_score_zero_and_count_alarms():
    result = evaluate([found((LEFT, 0, 0.9)), found()], [sample(), sample()], CLASSES)
    assert (result.map50, result.objects) == (0.0, 0)
    assert result.false_alarms_per_image == 0.5


def test_a_double_and_a_wrong_class_are_false_alarms():
    detections = found((LEFT, 0, 0.9), (LEFT, 0, 0.8), (RIGHT, 0, 0.7), (RIGHT, 1, 0.1))
    result = evaluate([detections], [sample((LEFT, 0), (RIGHT, 1))], CLASSES)
    person = result.per_class["person"]
    assert person.recall == 1.0
    assert person.precision == pytest.approx(1 / 3)
    # the helmet's score is below the threshold: not shown, but average precision knows it
    assert result.per_class["helmet"].recall == 0.0
    assert result.per_class["helmet"].ap50 == pytest.approx(1.0)
    assert result.false_alarms_per_image == 2.0


def test_average_precision_follows_the_definition():
    # Right, wrong, right for two objects: precision 1 up to recall 0.5, then 2/3.
    detections = found((LEFT, 0, 0.9), ([0, 70, 20, 95], 0, 0.8), (RIGHT, 0, 0.7))
    result = evaluate([detections], [sample((LEFT, 0), (RIGHT, 0))], CLASSES)
    # COCO reads the curve at 101 recalls, 51 of which are at most one half
    assert result.map50 == pytest.approx((51 * 1.0 + 50 * 2 / 3) / 101, abs=1e-6)


def test_a_box_that_is_half_right_counts_at_half_overlap_only():
    # IoU 0.6: a match at 0.50, 0.55 and 0.60
    result = evaluate([found(([10, 10, 40, 40], 0, 0.9))], [sample((LEFT, 0))], CLASSES)
    assert result.map50 == pytest.approx(1.0)
    assert result.map50_95 == pytest.approx(0.3)


def test_each_class_has_a_threshold_of_its_own():
    detections = found((LEFT, 0, 0.3), (RIGHT, 1, 0.3))
    result = evaluate([detections], [sample((LEFT, 0), (RIGHT, 1))], CLASSES, (0.2, 0.5))
    assert result.per_class["person"].recall == 1.0
    assert result.per_class["helmet"].recall == 0.0
    assert result.thresholds == {"person": 0.2, "helmet": 0.5}
    assert result.score_threshold == 0.2


def test_what_a_detector_returns_becomes_arrays():
    frames = [
        {"boxes": [[1.0, 2.0, 3.0, 4.0]], "scores": [0.5], "classes": ["helmet"], "class_ids": [1]},
        {"boxes": [], "scores": [], "classes": [], "class_ids": []},
    ]
    first, second = detections_of(frames)
    assert first.boxes.shape == (1, 4)
    assert second.boxes.shape == (0, 4)
    assert second.classes.dtype == np.int64


def test_metrics_name_split_figure_and_class():
    result = evaluate([found((LEFT, 0, 0.9))], [sample((LEFT, 0))], CLASSES)
    metrics = result.metrics("test.")
    assert metrics["test.recall.person"] == 1.0
    # 30 x 50 of 100 pixels
    assert metrics["test.size.large.recall"] == 1.0
    assert "test.map50_low" not in metrics
    bounded = evaluate([found((LEFT, 0, 0.9))], [sample((LEFT, 0))], CLASSES, draws=5)
    assert bounded.metrics("test.")["test.map50_low"] == pytest.approx(1.0)
    # one of one: at least 5 %, with 95 % confidence
    assert bounded.metrics()["recall_at_least.person"] == pytest.approx(0.05)
