"""Photographs as they might also have been taken: other light, other distance, side by side.

    one    mirrored, scaled, moved within the frame, in other light
    four   the same for each, in the four parts of a frame: more objects, of more sizes, in a step

All of it on bytes: an augmented picture costs little beside what the network does with it. What a
picture does not reach stays as grey as on the edge box, whatever the light.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
class Fitted:
    """One sample in the network's input.

    Attributes:
        image: RGB, shape (S, S, 3), uint8.
        boxes: x1, y1, x2, y2 in input pixels, shape (N, 4), float32.
        classes: Shape (N,), int64.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]


def augment(sample: Fitted, random: np.random.Generator) -> Fitted:
    """Mirror, scale, shift, and change brightness, tint and saturation."""
    size = sample.image.shape[0]
    return _placed(sample, _SCALE, (size, size), random)


def mosaic(samples: Sequence[Fitted], random: np.random.Generator) -> Fitted:
    """Four samples, each changed as `augment` does, in the four parts of one frame."""
    size = samples[0].image.shape[0]
    x, y = (random.uniform(*_CROSSING, 2) * size).astype(int).tolist()
    parts = ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size))
    image = np.empty((size, size, 3), np.uint8)
    boxes: list[NDArray[np.float32]] = []
    classes: list[NDArray[np.int64]] = []
    for place, sample in zip(random.permutation(4), samples, strict=True):
        left, top, right, bottom = parts[place]
        placed = _placed(sample, _SCALE_OF_FOUR, (right - left, bottom - top), random)
        image[top:bottom, left:right] = placed.image
        boxes.append(placed.boxes + np.array([left, top, left, top], np.float32))
        classes.append(placed.classes)
    return Fitted(image, np.concatenate(boxes), np.concatenate(classes))


def _placed(
    sample: Fitted,
    scales: tuple[float, float],
    frame: tuple[int, int],
    random: np.random.Generator,
) -> Fitted:
    """A sample at a random scale and place in a frame of width and height, in random light."""
    size = sample.image.shape[0]
    side = max(1, round(size * float(np.exp(random.uniform(*np.log(scales))))))
    # Smaller pictures move within the frame; larger ones show a random part of themselves.
    room = np.array(frame) - side
    corner = random.integers(np.minimum(room, 0), np.maximum(room, 0), endpoint=True)
    if random.random() < 0.5:
        sample = _mirrored(sample)
    low, high = np.maximum(corner, 0), np.minimum(corner + side, frame)
    # Pillow computes the part that is seen alone, and averages where it shrinks.
    shown = Image.fromarray(sample.image).resize(
        tuple((high - low).tolist()),
        Image.Resampling.BILINEAR,
        box=tuple((np.concatenate((low - corner, high - corner)) * size / side).tolist()),
    )
    image = np.full((frame[1], frame[0], 3), _GREY, np.uint8)
    image[low[1] : high[1], low[0] : high[0]] = np.asarray(shown.convert("RGB", _light(random)))
    boxes = sample.boxes * (side / size) + np.tile(corner, 2)
    return _visible(image, boxes.astype(np.float32), sample.classes)


def _mirrored(sample: Fitted) -> Fitted:
    boxes = sample.boxes.copy()
    boxes[:, [0, 2]] = sample.image.shape[1] - boxes[:, [2, 0]]
    return Fitted(sample.image[:, ::-1], boxes, sample.classes)


def _light(random: np.random.Generator) -> tuple[float, ...]:
    """Brightness, tint and saturation as the 3x4 matrix that Pillow applies to every pixel."""
    gains = random.uniform(*_BRIGHTNESS) * random.uniform(1 - _TINT, 1 + _TINT, 3)
    saturation = random.uniform(*_SATURATION)
    mixed = saturation * np.eye(3) + (1 - saturation) * np.array(_LUMA)
    return tuple(np.column_stack((gains[:, None] * mixed, np.zeros(3))).flatten().tolist())


def _visible(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], classes: NDArray[np.int64]
) -> Fitted:
    height, width = image.shape[:2]
    inside = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    sides = inside[:, 2:] - inside[:, :2]
    share = sides.prod(1) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-9)
    keep = (share >= _MIN_VISIBLE) & (sides.min(1, initial=np.inf) >= _MIN_SIDE)
    return Fitted(image, inside[keep], classes[keep])
