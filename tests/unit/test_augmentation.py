"""Boxes and pixels stay together, whatever is drawn: paint an object, change it, find it again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardianflow.vision.network.augmentation import LetterboxedSample, augment, mosaic

SIZE = 96
GREY = 114
# So different that no light of ours makes one of them look like another.
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))


def painted(box, label):
    """A black picture with one rectangle in the colour of its label."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    left, top, right, bottom = box
    image[top:bottom, left:right] = COLOURS[label]
    return LetterboxedSample(image, np.array([box], np.float32), np.array([label]))


def seen(image, label):
    """Where the colour of a label is, mask of shape (S, S)."""
    image = np.asarray(image).astype(int)
    if label == 3:
        # Pale green is bright in all channels too, but not evenly.
        white = (image.min(2) > 64) & (image.min(2) > 0.6 * image.max(2))
        return white & ~(image == GREY).all(2)
    others = [channel for channel in range(3) if channel != label]
    return (image[..., label] - image[..., others].max(2)) > 48


def hull(mask):
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


boxes = st.tuples(
    st.integers(0, SIZE - 24), st.integers(0, SIZE - 24), st.integers(12, 24), st.integers(12, 24)
).map(lambda drawn: (drawn[0], drawn[1], drawn[0] + drawn[2], drawn[1] + drawn[3]))
seeds = st.integers(0, 2**32)


@given(boxes, st.integers(0, 3), seeds)
def test_a_box_still_fits_its_object(box, label, seed):
    changed = augment(painted(box, label), np.random.default_rng(seed))
    mask = seen(changed.image, label)
    if len(changed.boxes) == 0:
        area = (box[2] - box[0]) * (box[3] - box[1])
        assert mask.sum() < 0.3 * area * 1.4**2
        return
    assert changed.classes.tolist() == [label]
    assert np.abs(changed.boxes[0] - hull(mask)).max() <= 1.5


@settings(max_examples=60)
@given(st.lists(boxes, min_size=4, max_size=4), seeds)
def test_the_boxes_of_a_mosaic_fit_the_objects_of_all_four(drawn, seed):
    samples = [painted(box, label) for label, box in enumerate(drawn)]
    made = mosaic(samples, np.random.default_rng(seed))
    assert (made.image.shape, made.image.dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert len(set(made.classes.tolist())) == len(made.classes)
    for box, label in zip(made.boxes, made.classes.tolist(), strict=True):
        assert np.abs(box - hull(seen(made.image, label))).max() <= 1.5
    for label in set(range(4)) - set(made.classes.tolist()):
        left, top, right, bottom = drawn[label]
        area = (right - left) * (bottom - top) * 1.1**2
        assert seen(made.image, label).sum() < 0.3 * area + 8


@given(seeds)
def test_boxes_lie_in_the_frame_and_padding_stays_grey(seed):
    sample = painted((0, 0, SIZE, SIZE), 3)
    changed = augment(sample, np.random.default_rng(seed))
    assert (changed.boxes >= 0).all()
    assert (changed.boxes <= SIZE).all()
    outside = np.ones((SIZE, SIZE), bool)
    for left, top, right, bottom in np.round(changed.boxes).astype(int):
        outside[top:bottom, left:right] = False
    assert (changed.image[outside] == GREY).all()


@pytest.mark.parametrize("made", [augment, lambda one, random: mosaic([one] * 4, random)])
def test_augmentation_depends_on_the_generator_alone_and_leaves_the_sample_alone(made):
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    sample = LetterboxedSample(image, np.array([[10, 10, 30, 30]], np.float32), np.array([1]))
    kept = image.copy()
    first, second, other = (made(sample, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.boxes, second.boxes)
    assert not np.array_equal(first.image, other.image)
    assert np.array_equal(sample.image, kept)


def test_light_changes_brightness_and_saturation():
    sample = painted((0, 0, SIZE, SIZE), 0)
    random = np.random.default_rng(1)
    pixels = np.array([augment(sample, random).image[48, 48] for _ in range(40)], int)
    assert np.ptp(pixels[:, 0]) > 60
    # Less saturated: red is no longer without green.
    assert (pixels[:, 1] > 20).any()
    assert (pixels[:, 1] == 0).any()


def test_an_image_without_objects_stays_one():
    nothing = LetterboxedSample(
        np.zeros((64, 64, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    )
    for made in (
        augment(nothing, np.random.default_rng(0)),
        mosaic([nothing] * 4, np.random.default_rng(0)),
    ):
        assert made.boxes.shape == (0, 4)
        assert made.classes.shape == (0,)
