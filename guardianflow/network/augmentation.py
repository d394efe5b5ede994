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
        image: RGB, S x S. Pillow's, since every augmentation is: no copy for each.
        boxes: x1, y1, x2, y2 in input pixels, shape (N, 4), float32.
        classes: Shape (N,), int64.
    """

    image: Image.Image
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]


def augment(sample: Fitted, random: np.random.Generator) -> Fitted:
    """Mirror, scale, shift, and change brightness, tint and saturation."""
    frame = _empty(sample.image.width)
    return Fitted(frame, *_place(sample, _SCALE, frame, (0, 0, *frame.size), random))


def mosaic(samples: Sequence[Fitted], random: np.random.Generator) -> Fitted:
    """Four samples, each changed as `augment` does, in the four parts of one frame."""
    frame = _empty(size := samples[0].image.width)
    x, y = (random.uniform(*_CROSSING, 2) * size).astype(int).tolist()
    parts = ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size))
    order = random.permutation(4)
    placed = [
        _place(sample, _SCALE_OF_FOUR, frame, parts[place], random)
        for place, sample in zip(order, samples, strict=True)
    ]
    boxes, classes = zip(*placed, strict=True)
    return Fitted(frame, np.concatenate(boxes), np.concatenate(classes))


def _empty(size: int) -> Image.Image:
    return Image.new("RGB", (size, size), (_GREY, _GREY, _GREY))


def _place(
    sample: Fitted,
    scales: tuple[float, float],
    frame: Image.Image,
    part: tuple[int, int, int, int],
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Paste a sample into a part of a frame, at a random scale and place and in random light.

    Returns:
        The boxes in the frame, and the classes, of the objects that are still seen.
    """
    size = sample.image.width
    side = max(1, round(size * float(np.exp(random.uniform(*np.log(scales))))))
    left, top, right, bottom = part
    origin, room = np.array((left, top)), np.array((right - left, bottom - top))
    # Smaller pictures move within the part; larger ones show a random part of themselves.
    corner = random.integers(np.minimum(room - side, 0), np.maximum(room - side, 0), endpoint=True)
    image, boxes = sample.image, sample.boxes
    if random.random() < 0.5:
        image, boxes = _mirrored(image, boxes)
    low, high = np.maximum(corner, 0), np.minimum(corner + side, room)
    # Pillow computes what is seen alone, and averages where it shrinks.
    shown = image.resize(
        (high - low).tolist(),
        Image.Resampling.BILINEAR,
        box=tuple((np.concatenate((low - corner, high - corner)) * size / side).tolist()),
    )
    frame.paste(shown.convert("RGB", _light(random)), tuple((origin + low).tolist()))
    placed = (boxes * (side / size) + np.tile(corner, 2)).astype(np.float32)
    visible, keep = _visible(placed, room)
    return visible + np.tile(origin, 2).astype(np.float32), sample.classes[keep]


def _mirrored(
    image: Image.Image, boxes: NDArray[np.float32]
) -> tuple[Image.Image, NDArray[np.float32]]:
    boxes = boxes.copy()
    boxes[:, [0, 2]] = image.width - boxes[:, [2, 0]]
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), boxes


def _light(random: np.random.Generator) -> tuple[float, ...]:
    """Brightness, tint and saturation as the 3x4 matrix that Pillow applies to every pixel."""
    gains = random.uniform(*_BRIGHTNESS) * random.uniform(1 - _TINT, 1 + _TINT, 3)
    saturation = random.uniform(*_SATURATION)
    mixed = saturation * np.eye(3) + (1 - saturation) * np.array(_LUMA)
    return tuple(np.column_stack((gains[:, None] * mixed, np.zeros(3))).flatten().tolist())


def _visible(
    boxes: NDArray[np.float32], room: NDArray[np.int_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The boxes that are left within so much width and height, and which of all those are."""
    inside = np.clip(boxes, 0, np.tile(room, 2).astype(np.float32))
    sides = inside[:, 2:] - inside[:, :2]
    share = sides.prod(1) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-9)
    keep = (share >= _MIN_VISIBLE) & (sides.min(1, initial=np.inf) >= _MIN_SIDE)
    return inside[keep], keep
