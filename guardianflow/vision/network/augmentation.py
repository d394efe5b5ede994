"""Photographs as they might also have been taken: other light, other distance, side by side.

    one    mirrored, scaled, moved within the frame, in other light
    four   the same for each, in the four parts of a frame: more objects, of more sizes, in a step

An augmented picture costs little beside what the network does with it: only what is seen of it is
computed, and in one thread, since the others are the network's. What a picture does not reach stays
as grey as on the edge box, whatever the light.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

# As the letterbox of serving has it.
_GREY = 114
_SCALE = (0.7, 1.4)
# Of a picture that is one of four, against the whole frame.
_SCALE_OF_FOUR = (0.45, 1.1)
# Where the four meet, in parts of the frame.
_CROSSING = (0.3, 0.7)
_BRIGHTNESS = (0.7, 1.3)
_TINT = 0.08
_SATURATION = (0.5, 1.5)
# Brightness of a colour, ITU-R BT.601.
_LUMA = (0.299, 0.587, 0.114)
# What is left of an object at the border: less is not labelled by people either.
_MIN_VISIBLE = 0.25
_MIN_SIDE = 2.0


@dataclass(frozen=True, eq=False)
class LetterboxedSample:
    """One sample in the network's input.

    Attributes:
        image: RGB, shape (S, S, 3), uint8.
        boxes: x1, y1, x2, y2 in input pixels, shape (N, 4), float32.
        classes: Shape (N,), int64.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]


def augment(sample: LetterboxedSample, random: np.random.Generator) -> LetterboxedSample:
    """Mirror, scale, shift, and change brightness, tint and saturation."""
    frame = _empty(size := len(sample.image))
    return LetterboxedSample(frame, *_place(sample, _SCALE, frame, (0, 0, size, size), random))


def mosaic(samples: Sequence[LetterboxedSample], random: np.random.Generator) -> LetterboxedSample:
    """Four samples, each changed as `augment` does, in the four parts of one frame."""
    frame = _empty(size := len(samples[0].image))
    x, y = (random.uniform(*_CROSSING, 2) * size).astype(int).tolist()
    parts = ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size))
    order = random.permutation(4)
    placed = [
        _place(sample, _SCALE_OF_FOUR, frame, parts[place], random)
        for place, sample in zip(order, samples, strict=True)
    ]
    boxes, classes = zip(*placed, strict=True)
    return LetterboxedSample(frame, np.concatenate(boxes), np.concatenate(classes))


def _empty(size: int) -> NDArray[np.uint8]:
    return np.full((size, size, 3), _GREY, np.uint8)


def _place(
    sample: LetterboxedSample,
    scales: tuple[float, float],
    frame: NDArray[np.uint8],
    part: tuple[int, int, int, int],
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw a sample into a part of a frame, at a random scale and place and in random light.

    Returns:
        The boxes in the frame, and the classes, of the objects that are still seen.
    """
    size = len(sample.image)
    side = max(1, round(size * float(np.exp(random.uniform(*np.log(scales))))))
    left, top, right, bottom = part
    origin, room = np.array((left, top)), np.array((right - left, bottom - top))
    # Smaller pictures move within the part; larger ones show a random part of themselves.
    corner = random.integers(np.minimum(room - side, 0), np.maximum(room - side, 0), endpoint=True)
    low, high = np.maximum(corner, 0), np.minimum(corner + side, room)
    # Whole pixels of the picture are shown; the boxes follow these, not what was asked for.
    first = np.floor((low - corner) * (size / side)).astype(int)
    last = np.minimum(np.ceil((high - corner) * (size / side)).astype(int), size)
    shown = _resized(sample.image[_within(first, last)], high - low)
    corners = (sample.boxes.reshape(-1, 2, 2) - first) * ((high - low) / (last - first))
    if random.random() < 0.5:
        shown, corners = _mirrored(shown, corners)
    frame[_within(origin + low, origin + high)] = _lit(shown, random)
    visible, keep = _visible(corners + low, room)
    boxes = (visible + origin).reshape(-1, 4).astype(np.float32)
    return boxes, sample.classes[keep]


def _within(first: NDArray[np.int_], last: NDArray[np.int_]) -> tuple[slice, slice]:
    """Rows and columns between two corners, each x and y."""
    return slice(first[1], last[1]), slice(first[0], last[0])


def _mirrored(
    image: NDArray[np.uint8], corners: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    mirrored = corners.copy()
    mirrored[:, :, 0] = image.shape[1] - corners[:, ::-1, 0]
    return image[:, ::-1], mirrored


def _resized(image: NDArray[np.uint8], size: NDArray[np.int_]) -> NDArray[np.uint8]:
    """An image at another width and height; averaged where it shrinks.

    Torch needs a third of Pillow's time for the same bytes, and one thread.
    """
    width, height = size.tolist()
    pixels = torch.from_numpy(np.ascontiguousarray(image)[None]).permute(0, 3, 1, 2)
    resized = functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


def _lit(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """The same in another brightness, tint and saturation."""
    gains = random.uniform(*_BRIGHTNESS) * random.uniform(1 - _TINT, 1 + _TINT, 3)
    saturation = random.uniform(*_SATURATION)
    mixed = saturation * np.eye(3) + (1 - saturation) * np.array(_LUMA)
    # Row by row: of one large product NumPy makes work for all cores.
    lit = image.astype(np.float32) @ (gains[:, None] * mixed).T.astype(np.float32)
    return np.clip(lit, 0, 255, out=lit).astype(np.uint8)


def _visible(
    corners: NDArray[np.float64], room: NDArray[np.int_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The boxes that are left within so much width and height, and which of all those are."""
    inside = np.minimum(np.maximum(corners, 0), room)
    width, height = (inside[:, 1] - inside[:, 0]).T
    whole = (corners[:, 1] - corners[:, 0]).prod(1)
    keep = width * height >= _MIN_VISIBLE * np.maximum(whole, 1e-9)
    keep &= (width >= _MIN_SIDE) & (height >= _MIN_SIDE)
    return inside[keep], keep
