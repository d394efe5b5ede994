"""How sure a figure is: exact bounds from tables, intervals that do what their confidence says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardianflow.vision.metrics.comparison import compare_seen
from guardianflow.vision.metrics.detections import Seen
from guardianflow.vision.metrics.evaluation import evaluate
from guardianflow.vision.metrics.intervals import (
    bootstrap,
    interval,
    measure_once,
    rate_at_most,
    share_at_least,
)
from guardianflow.vision.metrics.matching import collect_overlaps
from tests.unit.scenes import LEFT, RIGHT, found, random_set, sample

CLASSES = ("person", "helmet")


def test_the_exact_bounds_are_those_of_the_tables():
    # one-sided 95 %: 0 misses of n is 0.05 ** (1 / n); 8 of 10 from the F distribution
    assert share_at_least(10, 10) == pytest.approx(0.05 ** (1 / 10))
    assert share_at_least(8, 10) == pytest.approx(0.4930987)
    assert share_at_least(0, 10) == 0.0
    # the rule of three, exactly: -ln 0.05; 2 events: chi-square table with 6 degrees, 12.5916 / 2
    assert rate_at_most(0, 100) == pytest.approx(0.02995732)
    assert rate_at_most(2, 1) == pytest.approx(12.5915872 / 2)


@given(st.integers(0, 200), st.integers(0, 200))
def test_the_exact_bound_lies_below_the_share_and_grows_with_it(hits, misses):
    of = hits + misses + 1
    assert 0.0 <= share_at_least(hits, of) <= hits / of
    assert share_at_least(hits, of) <= share_at_least(hits + 1, of)
    assert rate_at_most(hits, of) > hits / of


def test_the_bootstrap_is_the_same_every_time_and_holds_the_figure():
    detections, samples = random_set(np.random.default_rng(3), images=40, classes=2)
    first = evaluate(detections, samples, CLASSES, 0.4, draws=200)
    assert first == evaluate(detections, samples, CLASSES, 0.4, draws=200)
    assert first.map50 in first.map50_bounds
    assert first.map50_95 in first.map50_95_bounds
    assert first.false_alarms_per_image in first.false_alarms_bounds
    for figures in (*first.per_class.values(), *first.per_size.values()):
        assert figures.recall in figures.recall_bounds
        assert figures.ap50_95 in figures.ap50_95_bounds
        assert figures.recall_at_least < figures.recall
    assert (first.confidence, first.draws) == (0.95, 200)


def test_without_draws_there_are_no_bounds():
    detections, samples = random_set(np.random.default_rng(3), images=4, classes=2)
    figures = evaluate(detections, samples, CLASSES)
    assert (figures.map50_bounds, figures.confidence, figures.draws) == (None, None, 0)
    assert evaluate([], [], CLASSES, draws=10).draws == 0


def test_blocks_of_draws_change_nothing(monkeypatch):
    detections, samples = random_set(np.random.default_rng(4), images=20, classes=2)
    layout = collect_overlaps(detections, samples)
    whole = bootstrap(layout, 2, 0.4, draws=30)
    monkeypatch.setattr("guardianflow.vision.metrics.intervals._BLOCK", 200)
    parts = bootstrap(layout, 2, 0.4, draws=30)
    assert np.array_equal(whole.map50_95(), parts.map50_95())
    assert np.array_equal(whole.recall, parts.recall)


def test_misses_that_come_together_in_an_image_widen_the_interval():
    # Sixty objects, half of them missed: one in each image, or ten in each of six images.
    one, ten = [(LEFT, 0)], [([5 * i, 5, 5 * i + 4, 30], 0) for i in range(10)]
    alone = [found((LEFT, 0, 0.9)), found()] * 30, [sample(*one)] * 60
    hits = found(*[(box, 0, 0.9) for box, _ in ten])
    together = [hits, found()] * 3, [sample(*ten)] * 6
    first, second = (
        evaluate(*images, CLASSES, draws=400).per_class["person"] for images in (alone, together)
    )
    assert first.recall == second.recall == 0.5
    # Clopper-Pearson cannot tell them apart.
    assert first.recall_at_least == second.recall_at_least
    assert second.recall_bounds.low < first.recall_bounds.low - 0.1
    assert second.recall_bounds.low < second.recall_at_least


def test_the_interval_is_as_wide_as_theory_says_and_holds_the_truth():
    # A detector that finds each object with probability 0.7, 100 images of 1 to 6 objects.
    random = np.random.default_rng(5)
    held, widths = 0, []
    boxes = [([9 * i, 5, 9 * i + 8, 30], 0) for i in range(6)]
    for _ in range(12):
        counts = random.integers(1, 7, 100)
        samples = [sample(*boxes[:n]) for n in counts]
        detections = [
            found(*[(box, 0, 0.9) for box, _ in boxes[:n] if random.random() < 0.7]) for n in counts
        ]
        ends = interval(
            bootstrap(collect_overlaps(detections, samples), 1, 0.4, draws=300).recall[:, 0]
        )
        held += 0.7 in ends
        widths.append(ends.high - ends.low)
    # the objects are independent here, about 350 of them: the normal approximation holds
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.sqrt(0.7 * 0.3 / 350), rel=0.1)
    assert held >= 9


def test_a_paired_difference_is_surer_than_the_figures():
    random = np.random.default_rng(6)
    detections, samples = random_set(random, images=60, classes=2, distinct=True)
    # The second detector is the first with a few of its detections lost.
    fewer = [d.above(0.12) for d in detections]
    one, two = Seen(detections, (0.4, 0.4)), Seen(fewer, (0.5, 0.5))
    difference = compare_seen(one, two, samples, CLASSES, draws=300)
    before, after = (
        evaluate(seen.detections, samples, CLASSES, seen.thresholds, draws=300)
        for seen in (one, two)
    )
    assert difference.map50_95.value == pytest.approx(after.map50_95 - before.map50_95, abs=1e-6)
    assert difference.map50_95.low <= difference.map50_95.value <= difference.map50_95.high <= 0
    width = difference.map50_95.high - difference.map50_95.low
    assert width < (before.map50_95_bounds.high - before.map50_95_bounds.low) / 2
    for name in CLASSES:
        lost = after.per_class[name].recall - before.per_class[name].recall
        assert difference.recall[name].value == pytest.approx(lost)
        assert difference.recall[name].value < 0
    assert difference.false_alarms_per_image.value == pytest.approx(
        after.false_alarms_per_image - before.false_alarms_per_image
    )
    assert difference.metrics("difference.")["difference.map50_95_low"] == difference.map50_95.low


def test_a_detector_against_itself_differs_by_nothing():
    detections, samples = random_set(np.random.default_rng(7), images=20, classes=2)
    seen = Seen(detections, (0.4, 0.4))
    same = compare_seen(seen, seen, samples, CLASSES, draws=50)
    for entry in (same.map50, same.map50_95, same.false_alarms_per_image, *same.recall.values()):
        assert (entry.value, entry.low, entry.high) == (0, 0, 0)


def test_images_without_any_object_have_no_precision_and_no_difference():
    seen = Seen([found((LEFT, 0, 0.9)), found()], (0.4, 0.4))
    assert np.isnan(
        measure_once(collect_overlaps(seen.detections, [sample(), sample()]), 2, 0.4).map50()
    ).all()
    same = compare_seen(seen, seen, [sample(), sample()], CLASSES, draws=20)
    assert same.map50_95.value == 0
    assert same.recall == {}
    figures = evaluate(seen.detections, [sample(), sample()], CLASSES, draws=20)
    assert figures.false_alarms_per_image in figures.false_alarms_bounds
    assert figures.false_alarms_at_most > 0.5


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_a_higher_threshold_never_finds_or_alarms_more(seed):
    detections, samples = random_set(np.random.default_rng(seed), images=8, classes=2)
    figures = [evaluate(detections, samples, CLASSES, t) for t in (0.1, 0.3, 0.6, 0.9)]
    alarms = [entry.false_alarms_per_image for entry in figures]
    assert alarms == sorted(alarms, reverse=True)
    for name in figures[0].per_class:
        recalls = [entry.per_class[name].recall for entry in figures]
        assert recalls == sorted(recalls, reverse=True)


def test_sizes_are_told_apart_whatever_the_camera():
    # the same share of the image: small in both, although 40 pixels high in the second
    for scale in (1, 2):
        box = [0, 0, 20 * scale, 20 * scale]
        size = (640 * scale, 360 * scale)
        result = evaluate([found((box, 0, 0.9))], [sample((box, 0), size=size)], CLASSES, draws=5)
        assert list(result.per_size) == ["small"]
        assert result.per_size["small"].recall == 1.0
        assert result.per_size["small"].ap50_95 == pytest.approx(1.0)
    mixed = evaluate([found((RIGHT, 0, 0.9))], [sample((RIGHT, 0), (LEFT, 0))], CLASSES)
    # 100 pixels wide: 35 x 50 counts as 224 x 320
    assert mixed.per_size["large"].objects == 2
