"""Average precision held against faster-coco-eval, of sets as they are and of weighed ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardianflow.vision.metrics.evaluation import evaluate
from guardianflow.vision.metrics.matching import collect_overlaps
from guardianflow.vision.metrics.precision import ALL, SIZES, average_precisions, curves
from tests.unit.coco import coco_precisions
from tests.unit.scenes import LEFT, RIGHT, found, random_set, sample


def precisions(detections, samples, classes, size=ALL, weights=None):
    if weights is None:
        weights = np.ones((1, len(samples)))
    return average_precisions(curves(collect_overlaps(detections, samples), classes, size), weights)


def test_it_follows_the_definition():
    # Right, wrong, right for two objects: precision 1 up to recall 0.5, then 2/3.
    detections = found((LEFT, 0, 0.9), ([0, 70, 20, 95], 0, 0.8), (RIGHT, 0, 0.7))
    (figures,) = precisions([detections], [sample((LEFT, 0), (RIGHT, 0))], 1)
    assert figures[0, 0] == pytest.approx((51 * 1.0 + 50 * 2 / 3) / 101, abs=1e-12)


def test_a_detection_of_another_size_is_neither_right_nor_wrong():
    small, large = [0, 0, 20, 20], [100, 100, 300, 300]
    detections = [found((large, 0, 0.9), (small, 0, 0.5))]
    samples = [sample((small, 0), size=(640, 480))]
    assert precisions(detections, samples, 1)[0, 0, 0] == pytest.approx(0.5)
    assert precisions(detections, samples, 1, "small")[0, 0, 0] == pytest.approx(1.0)
    assert np.isnan(precisions(detections, samples, 1, "large")).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_it_agrees_with_faster_coco_eval(seed, images, classes):
    detections, samples = random_set(np.random.default_rng(seed), images=images, classes=classes)
    expected = coco_precisions(detections, samples, classes, [(0.0, 1e10), *SIZES.values()])
    for index, size in enumerate((ALL, *SIZES)):
        (ours,) = precisions(detections, samples, classes, size)
        theirs = expected[index]
        assert np.array_equal(np.isnan(ours), theirs < 0)
        assert np.abs(np.nan_to_num(ours) - theirs.clip(0)).max() < 1e-6


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_weight_counts_an_image_as_often(seed):
    random = np.random.default_rng(seed)
    detections, samples = random_set(random, images=8, classes=2, distinct=True)
    weights = random.integers(0, 4, 8)
    many = np.repeat(np.arange(8), weights)
    weighed = precisions(detections, samples, 2, weights=weights[None].astype(float))
    there = precisions([detections[i] for i in many], [samples[i] for i in many], 2)
    assert np.allclose(weighed, there, equal_nan=True, atol=1e-12)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_images_changes_no_figure(seed):
    random = np.random.default_rng(seed)
    detections, samples = random_set(random, images=10, classes=2, distinct=True)
    order = random.permutation(10)
    names = ("person", "helmet")
    one = evaluate(detections, samples, names)
    other = evaluate([detections[i] for i in order], [samples[i] for i in order], names)
    for before, after in zip(_numbers(one), _numbers(other), strict=True):
        assert before == pytest.approx(after, abs=1e-9)


def _numbers(evaluation):
    return [value for _, value in sorted(evaluation.metrics().items())]
