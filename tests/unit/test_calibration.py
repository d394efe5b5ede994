"""Which images set the ranges, and which sets are refused."""

import numpy as np
import pytest
from PIL import Image

from guardianflow.errors import CalibrationUnfit
from guardianflow.lifecycle.quantization.calibration import (
    choose,
    refuse_evaluated,
    refuse_unlike,
    statistics,
)
from guardianflow.vision.data.dataset import Sample
from guardianflow.vision.ir.serving import InputGeometry

SQUARE = InputGeometry(32, 32)


def sample(folder, index, brightness, classes=()):
    path = folder / f"{index}.png"
    random = np.random.default_rng(index)
    pixels = np.clip(random.normal(brightness, 20, (32, 48, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    boxes = np.tile(np.float32([2, 2, 20, 20]), (len(classes), 1))
    return Sample(path, boxes, np.array(classes, np.int64), (48, 32))


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Long day, short night, in the order of the camera; one image in 20 holds the class 1."""
    folder = tmp_path_factory.mktemp("train")
    light = [150 + index % 7 for index in range(72)] + [30 + 2 * index for index in range(8)]
    return [
        sample(folder, index, level, (0, 1) if index % 20 == 7 else (0,) if index % 3 else ())
        for index, level in enumerate(light)
    ]


def test_the_chosen_are_spread_by_brightness_and_by_class(train):
    chosen = choose(train, 10, SQUARE)
    evenly = [train[i] for i in np.linspace(0, len(train) - 1, 10).round().astype(int)]

    def of(samples, label):
        return sum(label in one.classes for one in samples)

    assert len({one.image for one in chosen.samples}) == 10
    assert of(chosen.samples, 1) == 4 > of(evenly, 1)
    assert any(not len(one.classes) for one in chosen.samples)
    assert min(square.mean() for square in chosen.squares) < 80
    assert chosen.squares[0].shape == (32, 32, 3)
    # the same again
    assert [one.image for one in choose(train, 10, SQUARE).samples] == [
        one.image for one in chosen.samples
    ]


def test_a_small_split_is_taken_whole(train):
    assert {one.image for one in choose(train[:5], 64, SQUARE).samples} == {
        one.image for one in train[:5]
    }


def test_a_large_split_is_not_read_whole(train):
    seen = []
    choose(train, 4, SQUARE, on_progress=lambda done, total: seen.append(total))
    assert seen == [32] * 32


def test_an_evaluated_image_sets_no_range_whatever_it_is_called(train, tmp_path):
    twin = tmp_path / "other.png"
    twin.write_bytes(train[3].image.read_bytes())
    held_out = [Sample(twin, train[3].boxes, train[3].classes, (48, 32))]
    with pytest.raises(CalibrationUnfit, match=r"3\.png is also in the evaluation set"):
        refuse_evaluated(train, held_out)
    refuse_evaluated(train[:3], held_out)


def squares(brightness, contrast=40.0, count=12):
    random = np.random.default_rng(0)
    return [
        np.clip(random.normal(brightness, contrast, (16, 16, 3)), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def test_statistics_are_those_of_all_pixels():
    found = statistics([np.full((4, 4, 3), 10, np.uint8), np.full((4, 4, 3), 30, np.uint8)])
    assert found.mean == (20, 20, 20)
    assert found.std == (10, 10, 10)
    assert (found.brightness[1], found.brightest, found.high) == (20, 30, 30)


def test_pixels_that_were_scaled_twice_are_refused():
    bright = squares(120)
    with pytest.raises(CalibrationUnfit, match=r"input range \(highest value\): 1.0 against"):
        refuse_unlike([square // 255 + square // 128 for square in bright], bright)
    with pytest.raises(CalibrationUnfit, match="input range"):
        refuse_unlike(bright, [square // 255 + square // 128 for square in bright])


def test_dark_images_are_refused_for_a_bright_set():
    with pytest.raises(CalibrationUnfit, match="brighter than the brightest") as error:
        refuse_unlike(squares(70), squares(150))
    assert error.value.data["calibration"]["images"] == 12


def test_flat_images_are_refused():
    flat = squares(120, 10)
    for square in flat:
        # a lamp, so that the range is right
        square[0, 0] = 255
    with pytest.raises(CalibrationUnfit, match="contrast"):
        refuse_unlike(flat, squares(120, 60))


def test_day_and_night_set_the_ranges_for_either_of_them():
    both = squares(150) + squares(60, 25)
    refuse_unlike(both, squares(150))
    refuse_unlike(both, squares(60, 25))
    # brighter ranges hold darker images
    refuse_unlike(squares(150), squares(60, 25))
