"""When two detectors give the same answers."""

import numpy as np
import pytest

from guardianflow.vision.metrics.agreement import agreement
from guardianflow.vision.metrics.detections import Seen
from tests.unit.scenes import LEFT, RIGHT, found

MOVED = [box + 2 for box in LEFT]
FAR = [200, 200, 230, 260]


def share(first, second, thresholds=(0.4, 0.4)):
    return agreement(Seen([found(*first)], thresholds), Seen([found(*second)], thresholds))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([], [], 1.0),
        ([(LEFT, 0, 0.9)], [(MOVED, 0, 0.5)], 1.0),
        ([(LEFT, 0, 0.9)], [], 0.0),
        ([], [(LEFT, 0, 0.9)], 0.0),  # a false alarm of one counts as much
        ([(LEFT, 0, 0.9)], [(LEFT, 1, 0.9)], 0.0),  # another class
        ([(LEFT, 0, 0.9)], [(FAR, 0, 0.9)], 0.0),
        ([(LEFT, 0, 0.9)], [(LEFT, 0, 0.3)], 1.0),  # below the threshold, but not far
        ([(LEFT, 0, 0.9)], [(LEFT, 0, 0.1)], 0.0),
        ([(LEFT, 0, 0.9), (RIGHT, 0, 0.9)], [(LEFT, 0, 0.9), (FAR, 0, 0.8)], 0.5),
    ],
)
def test_a_shown_box_counts_where_the_other_detector_has_it_too(first, second, expected):
    assert share(first, second) == share(second, first) == expected


def test_thresholds_are_those_of_each_class():
    boxes = [(LEFT, 0, 0.15), (RIGHT, 1, 0.15)]
    assert share(boxes, [], (0.1, 0.4)) == 0.0
    assert share([boxes[1]], [], (0.1, 0.4)) == 1.0


def test_boxes_of_other_images_do_not_count():
    one, none = found((LEFT, 0, 0.9)), found()
    thresholds = (0.4,)
    assert agreement(Seen([one, none], thresholds), Seen([none, one], thresholds)) == 0.0
    assert np.isclose(agreement(Seen([one, one], thresholds), Seen([one, none], thresholds)), 2 / 3)
