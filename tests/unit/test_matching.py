"""Matching, against hand-computed cases and against COCO's own code."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardianflow.vision.metrics.matching import IOUS, collect_overlaps, match_boxes
from tests.unit.coco import coco_hits
from tests.unit.scenes import LEFT, RIGHT, found, random_set, sample


def met(detections, *objects, **options):
    return match_boxes(collect_overlaps([detections], [sample(*objects)]), **options)[:, 0].tolist()


def test_the_best_takes_the_object_and_the_second_gets_none():
    assert met(found((LEFT, 0, 0.5), (LEFT, 0, 0.9)), (LEFT, 0)) == [-1, 0]


def test_each_takes_what_it_overlaps_most():
    near = [12, 10, 42, 60]
    assert met(found((near, 0, 0.9), (LEFT, 0, 0.8)), (LEFT, 0), (near, 0)) == [1, 0]


def test_another_class_is_no_match_unless_asked_for():
    assert met(found((LEFT, 1, 0.9)), (LEFT, 0)) == [-1]
    assert met(found((LEFT, 1, 0.9)), (LEFT, 0), any_class=True) == [0]


def test_what_is_not_shown_leaves_the_object_to_others():
    both = found((LEFT, 0, 0.9), (LEFT, 0, 0.5))
    assert met(both, (LEFT, 0), shown=np.array([False, True])) == [-1, 0]


def test_an_ignored_object_is_taken_only_where_no_other_can_be():
    near = [11, 10, 41, 60]
    ignored = np.array([True, False])
    assert met(found((LEFT, 0, 0.9)), (LEFT, 0), (near, 0), ignored=ignored) == [1]
    assert met(found((LEFT, 0, 0.9)), (LEFT, 0), (RIGHT, 0), ignored=ignored) == [0]


def test_the_overlap_decides_up_to_which_iou_it_counts():
    # IoU 0.6
    layout = collect_overlaps([found(([10, 10, 40, 40], 0, 0.9))], [sample((LEFT, 0))])
    assert (match_boxes(layout)[0] >= 0).tolist() == [True] * 3 + [False] * 7


def test_nothing_anywhere_is_no_error():
    assert match_boxes(collect_overlaps([], [])).shape == (0, len(IOUS))
    assert match_boxes(collect_overlaps([found()], [sample((LEFT, 0))])).shape == (0, len(IOUS))
    assert met(found((LEFT, 0, 0.9))) == [-1]


def test_areas_count_as_if_the_longer_side_had_640_pixels():
    layout = collect_overlaps([found((LEFT, 0, 0.9))], [sample((LEFT, 0), size=(1280, 720))])
    assert layout.objects.areas.tolist() == layout.found.areas.tolist() == [15 * 25]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_right_and_wrong_are_those_of_coco(seed):
    detections, samples = random_set(np.random.default_rng(seed), images=3, classes=2)
    layout = collect_overlaps(detections, samples)
    assert (match_boxes(layout) >= 0).sum(0).tolist() == coco_hits(detections, samples, 2)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_images_changes_nothing(seed):
    random = np.random.default_rng(seed)
    detections, samples = random_set(random, images=12, classes=3)
    order = random.permutation(12)
    hits = (match_boxes(collect_overlaps(detections, samples)) >= 0).sum(0)
    moved = match_boxes(
        collect_overlaps([detections[i] for i in order], [samples[i] for i in order])
    )
    assert hits.tolist() == (moved >= 0).sum(0).tolist()
