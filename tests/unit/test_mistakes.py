"""What was right and wrong, in words, and the pictures of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from guardianflow.vision.data.dataset import Sample
from guardianflow.vision.metrics.album import FILES, draw_album
from guardianflow.vision.metrics.detections import Seen
from guardianflow.vision.metrics.evaluation import evaluate
from guardianflow.vision.metrics.mistakes import Outcome, judge_boxes
from tests.unit.scenes import LEFT, RIGHT, found, random_set, sample

CLASSES = ("person", "helmet")
ELSEWHERE = [0, 70, 20, 95]
SHIFTED = [10, 35, 40, 85]


def judged(detections, *objects):
    return judge_boxes(Seen([detections], (0.4, 0.4)), [sample(*objects)], CLASSES)


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((LEFT, 1, 0.9), "there is a person"),
        ((ELSEWHERE, 0, 0.9), "no such object is labelled there"),
        ((SHIFTED, 0, 0.9), "the box does not fit, IoU 0.33"),
    ],
)
def test_a_false_box_says_why(box, why):
    (case,) = judged(found(box), (LEFT, 0)).of(Outcome.FALSE)
    assert case.why == why
    assert (case.label, case.image) == (box[1], 0)


def test_a_second_box_is_called_so():
    result = judged(found((LEFT, 0, 0.9), (LEFT, 0, 0.8)), (LEFT, 0))
    assert [case.why for case in result.of(Outcome.FALSE)] == ["a second box on the same object"]
    assert [case.why for case in result.of(Outcome.TRUE)] == ["IoU 1.00"]


@pytest.mark.parametrize(
    ("boxes", "why", "score"),
    [
        ([], "nothing was seen there", 0.0),
        ([(LEFT, 0, 0.25)], "score 0.25, shown from 0.40", 0.25),
        ([(LEFT, 1, 0.75), (LEFT, 0, 0.25)], "taken for helmet 0.75", 0.25),
    ],
)
def test_a_missed_object_says_why(boxes, why, score):
    (case,) = judged(found(*boxes), (LEFT, 0)).of(Outcome.MISSED)
    assert (case.why, case.score) == (why, score)
    assert case.box.tolist() == LEFT


def test_the_confusion_counts_every_box_and_every_object_once():
    boxes = found((LEFT, 1, 0.9), (RIGHT, 1, 0.8), (ELSEWHERE, 0, 0.7), (ELSEWHERE, 0, 0.1))
    result = judged(boxes, (LEFT, 0), (RIGHT, 1), ([40, 70, 50, 90], 0))
    # rows person, helmet, nothing; columns person, helmet, no box
    assert result.confusion.tolist() == [[0, 1, 1], [0, 1, 0], [1, 0, 0]]


def test_the_worst_come_first():
    boxes = found((ELSEWHERE, 0, 0.5), (RIGHT, 1, 0.9), (LEFT, 0, 0.3))
    result = judged(boxes, (LEFT, 0), ([40, 70, 50, 90], 0), ([60, 70, 90, 95], 0))
    assert [case.score for case in result.of(Outcome.FALSE)] == pytest.approx([0.9, 0.5])
    # nothing was seen of the last two, of which the larger is worse
    missed = [case.box.tolist() for case in result.of(Outcome.MISSED)]
    assert missed == [[60, 70, 90, 95], [40, 70, 50, 90], LEFT]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_cases_and_confusion_agree_with_the_figures(seed):
    detections, samples = random_set(np.random.default_rng(seed), images=6, classes=2)
    thresholds = (0.3, 0.5)
    result = judge_boxes(Seen(detections, thresholds), samples, CLASSES)
    figures = evaluate(detections, samples, CLASSES, thresholds)
    true, missed, false = (len(result.of(outcome)) for outcome in Outcome)
    assert true + missed == figures.objects
    assert false == pytest.approx(figures.false_alarms_per_image * 6)
    assert np.trace(result.confusion) == true
    assert result.confusion[:2].sum() == figures.objects
    assert result.confusion[:, :2].sum() == true + false
    assert result.confusion[2, 2] == 0


@pytest.fixture
def photographed(tmp_path):
    """Images with pixels: grey, the objects of the first class red and of the second blue."""
    detections, samples = random_set(np.random.default_rng(1), images=5, classes=2, side=200)
    real = []
    for index, entry in enumerate(samples):
        pixels = np.full((entry.size[1], entry.size[0], 3), 128, np.uint8)
        path = tmp_path / f"{index}.png"
        Image.fromarray(pixels).save(path)
        real.append(Sample(path, entry.boxes, entry.classes, entry.size))
    return detections, real


def test_every_picture_is_drawn_whatever_there_is(photographed, tmp_path):
    detections, samples = photographed
    nothing = [found()] * len(samples)
    bare = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    empty = [Sample(entry.image, *bare, entry.size) for entry in samples]
    for name, seen, labelled in (
        ("all", detections, samples),
        ("nothing", nothing, samples),
        ("unlabelled", detections, empty),
        ("none", [], []),
    ):
        draw_album(Seen(seen, (0.3, 0.3)), labelled, CLASSES, tmp_path / name)
        assert sorted(file.name for file in (tmp_path / name).iterdir()) == sorted(FILES)
        for file in FILES:
            assert Image.open(tmp_path / name / file).size[0] > 200


def test_a_crop_shows_its_box_in_the_frame_of_its_outcome(tmp_path):
    path = tmp_path / "frame.png"
    pixels = np.full((100, 100, 3), 128, np.uint8)
    pixels[10:60, 10:40] = (200, 0, 0)
    Image.fromarray(pixels).save(path)
    one = Sample(path, np.array([LEFT], np.float32), np.array([0]), (100, 100))
    draw_album(Seen([found()], (0.4, 0.4)), [one], CLASSES, tmp_path)
    sheet = np.asarray(Image.open(tmp_path / "missed.jpg").convert("RGB")).astype(int)
    red = (np.abs(sheet - (200, 0, 0)) < 25).all(-1)
    assert red.sum() > 2000
    rows, columns = np.nonzero(red)
    # the red object ends where the white frame begins
    assert (sheet[rows.min() - 4 : rows.min(), columns.mean().astype(int)] > 230).all(-1).any()
