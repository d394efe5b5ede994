"""From which score a box is shown: hand-computed choices and what has to hold for any."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardianflow.vision.ir.serving import SHOWN_THRESHOLD
from guardianflow.vision.metrics.intervals import count_by_image
from guardianflow.vision.metrics.matching import collect_overlaps
from guardianflow.vision.metrics.thresholds import choose_thresholds
from tests.unit.scenes import LEFT, RIGHT, found, random_set, sample

CLASSES = ("person", "helmet")
WRONG = [0, 70, 20, 95]


def images(count, *scores, label=0):
    """Images with one object each: a hit at the first score, a false alarm at the second."""
    hit, alarm = scores
    detections = found((LEFT, label, hit), (WRONG, label, alarm))
    return [detections] * count, [sample((LEFT, label))] * count


def test_it_separates_right_from_wrong_in_the_middle():
    assert choose_thresholds(*images(10, 0.8, 0.2), CLASSES, beta=1.5)[0] == pytest.approx(0.5)


def test_a_miss_costs_more_than_a_false_alarm_with_a_large_beta():
    # Ten objects; six are found at 0.8, four at 0.2, below sixteen false alarms at 0.4.
    many = found((LEFT, 0, 0.2), *[(WRONG, 0, 0.4)] * 4)
    detections = [found((LEFT, 0, 0.8))] * 6 + [many] * 4
    samples = [sample((LEFT, 0))] * 10
    # F1: 12/16 = 0.75 against 20/36; F3: 60/96 = 0.625 against 100/116
    assert choose_thresholds(detections, samples, CLASSES, beta=1)[0] == pytest.approx(0.6)
    assert choose_thresholds(detections, samples, CLASSES, beta=3)[0] == pytest.approx(0.105)


def test_a_class_that_is_hardly_seen_takes_the_threshold_of_all():
    detections, samples = images(20, 0.8, 0.2)
    detections += [found((RIGHT, 1, 0.3))] * 9
    samples += [sample((RIGHT, 1))] * 9
    person, helmet = choose_thresholds(detections, samples, CLASSES, beta=1)
    assert person == pytest.approx(0.5)
    # all together: 29 objects, all right down to 0.3
    assert helmet == pytest.approx(0.25)
    detections += [found((RIGHT, 1, 0.3))]
    samples += [sample((RIGHT, 1))]
    assert choose_thresholds(detections, samples, CLASSES, beta=1)[1] == pytest.approx(0.155)


def test_where_nothing_is_right_there_is_nothing_to_choose():
    for detections, samples in (
        ([found()] * 10, [sample((LEFT, 0))] * 10),
        ([found((LEFT, 0, 0.9))] * 10, [sample()] * 10),
        ([], []),
    ):
        assert choose_thresholds(detections, samples, CLASSES, beta=1) == (SHOWN_THRESHOLD,) * 2


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0, 1.5, 3.0]))
@settings(max_examples=12, deadline=None)
def test_no_other_threshold_is_better(seed, beta):
    detections, samples = random_set(np.random.default_rng(seed), images=12, classes=1)

    layout = collect_overlaps(detections, samples)

    def measure(threshold):
        counts = count_by_image(layout, 1, threshold)
        hits, alarms, objects = counts.hits.sum(), counts.alarms.sum(), counts.objects.sum()
        if not hits:
            return 0.0
        precision, recall = hits / (hits + alarms), hits / objects
        return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)

    (chosen,) = choose_thresholds(detections, samples, ("person",), beta=beta)
    best = max(measure(score) for score in (np.arange(1, 41) - 0.5) / 40)
    assert measure(chosen) == pytest.approx(best)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_a_larger_beta_never_raises_a_threshold(seed):
    detections, samples = random_set(np.random.default_rng(seed), images=12, classes=1)
    chosen = [choose_thresholds(detections, samples, ("a",), beta=b)[0] for b in (0.5, 1, 2, 4)]
    assert chosen == sorted(chosen, reverse=True)
