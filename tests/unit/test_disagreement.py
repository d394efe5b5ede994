from pathlib import Path

import numpy as np

from guardianflow.vision.data.dataset import Sample
from guardianflow.vision.metrics.detections import Detections, Seen
from guardianflow.vision.metrics.disagreement import Disagreement, find_disagreements

CLASSES = ("person", "helmet")
LEFT, MIDDLE, RIGHT = [0, 0, 20, 40], [40, 0, 60, 40], [80, 0, 100, 40]
CROWD = [44, 0, 64, 40]  # overlaps MIDDLE by two thirds


def sample(*boxes):
    return Sample(Path("x.png"), np.array(boxes, np.float32), np.zeros(len(boxes), int), (100, 40))


def seen(*frames, score=0.9):
    return Seen(
        [
            Detections(
                np.array(boxes, np.float32).reshape(-1, 4),
                np.full(len(boxes), score, np.float32),
                np.zeros(len(boxes), np.int64),
            )
            for boxes in frames
        ],
        (0.5, 0.5),
    )


def boxes(cases):
    return [case.box.tolist() for case in cases]


def test_each_kind_is_what_only_one_of_the_two_did():
    labelled = [sample(LEFT, MIDDLE)]
    found = find_disagreements(seen([LEFT, RIGHT]), seen([MIDDLE]), labelled, CLASSES)
    assert boxes(found[Disagreement.LOST]) == [MIDDLE]
    assert boxes(found[Disagreement.GAINED]) == [LEFT]
    assert boxes(found[Disagreement.NEW_ALARM]) == [RIGHT]
    assert found[Disagreement.GONE_ALARM] == []
    turned = find_disagreements(seen([MIDDLE]), seen([LEFT, RIGHT]), labelled, CLASSES)
    assert boxes(turned[Disagreement.GAINED]) == [MIDDLE]
    assert boxes(turned[Disagreement.GONE_ALARM]) == [RIGHT]


def test_what_both_did_is_no_disagreement():
    one = seen([LEFT, RIGHT])
    found = find_disagreements(one, seen([LEFT, [81, 0, 101, 40]]), [sample(LEFT, MIDDLE)], CLASSES)
    assert not any(found.values())


def test_two_workers_in_a_crowd_are_two():
    labelled = [sample(MIDDLE, CROWD)]
    found = find_disagreements(seen([CROWD]), seen([MIDDLE]), labelled, CLASSES)
    assert boxes(found[Disagreement.LOST]) == [MIDDLE]
    assert boxes(found[Disagreement.GAINED]) == [CROWD]


def test_without_a_champion_it_is_what_is_missed():
    found = find_disagreements(seen([LEFT]), None, [sample(LEFT, MIDDLE)], CLASSES)
    assert {kind: boxes(cases) for kind, cases in found.items()} == {Disagreement.MISSED: [MIDDLE]}


def test_one_of_each_image_comes_before_the_second_of_any():
    labelled = [sample(LEFT, MIDDLE, RIGHT), sample(LEFT), sample(MIDDLE)]
    found = find_disagreements(seen([], [], []), None, labelled, CLASSES)
    images = [case.image for case in found[Disagreement.MISSED]]
    assert sorted(images[:3]) == [0, 1, 2]
    assert images[3:] == [0, 0]
