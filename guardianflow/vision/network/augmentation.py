"""Augments samples: mirrors, scales, moves and recolours them, and combines four in a mosaic.

    augment   one sample: mirrored, scaled, moved within the frame, in other light
    mosaic    four samples, each augmented, in the four parts of a frame: more objects and sizes

Only the visible part of a picture is computed, in one thread: the other threads belong to the
network. The rest of the frame stays grey, as on the edge box.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

# The same as in the letterbox of serving.
_GREY = 114
_SCALE = (0.7, 1.4)
# Scale of each of the four pictures of a mosaic, relative to the whole frame.
_SCALE_OF_FOUR = (0.45, 1.1)
# Where the four pictures meet, as a fraction of the frame.
_CROSSING = (0.3, 0.7)
_BRIGHTNESS = (0.7, 1.3)
_TINT = 0.08
_SATURATION = (0.5, 1.5)
# Brightness of a colour, ITU-R BT.601.
_LUMA = (0.299, 0.587, 0.114)
# Objects with a smaller visible share are dropped: people do not label them either.
_MIN_VISIBLE = 0.25
_MIN_SIDE = 2.0


@dataclass(frozen=True, eq=False)
class LetterboxedSample:
    """One sample as the network's input.

    Attributes:
        image: RGB, shape (S, S, 3), uint8.
        boxes: x1, y1, x2, y2 in input pixels, shape (N, 4), float32.
        classes: Class index, shape (N,), int64.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]


def augment(sample: LetterboxedSample, random: np.random.Generator) -> LetterboxedSample:
    """Mirror, scale and move a sample, and change its brightness, tint and saturation."""
    frame = _empty(size := len(sample.image))
    return LetterboxedSample(frame, *_place(sample, _SCALE, frame, (0, 0, size, size), random))


def mosaic(samples: Sequence[LetterboxedSample], random: np.random.Generator) -> LetterboxedSample:
    """Place four samples in the four parts of one frame, each changed as by `augment`."""
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
    """Draw a sample into a part of a frame, with random scale, position and light.

    Returns:
        Boxes in the frame and classes of the visible objects.
    """
    size = len(sample.image)
    side = max(1, round(size * float(np.exp(random.uniform(*np.log(scales))))))
    left, top, right, bottom = part
    origin, room = np.array((left, top)), np.array((right - left, bottom - top))
    # A smaller picture moves within the part; of a larger one, a random region is visible.
    corner = random.integers(np.minimum(room - side, 0), np.maximum(room - side, 0), endpoint=True)
    low, high = np.maximum(corner, 0), np.minimum(corner + side, room)
    # The region is rounded to whole pixels, and the boxes follow the rounded region.
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
    """Rows and columns between two corners, each given as x and y."""
    return slice(first[1], last[1]), slice(first[0], last[0])


def _mirrored(
    image: NDArray[np.uint8], corners: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    mirrored = corners.copy()
    mirrored[:, :, 0] = image.shape[1] - corners[:, ::-1, 0]
    return image[:, ::-1], mirrored


def _resized(image: NDArray[np.uint8], size: NDArray[np.int_]) -> NDArray[np.uint8]:
    """Resize an image to width and height, with antialiasing.

    Torch takes a third of Pillow's time for the same bytes, in one thread.
    """
    width, height = size.tolist()
    pixels = torch.from_numpy(np.ascontiguousarray(image)[None]).permute(0, 3, 1, 2)
    resized = functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


def _lit(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Change brightness, tint and saturation of an image."""
    gains = random.uniform(*_BRIGHTNESS) * random.uniform(1 - _TINT, 1 + _TINT, 3)
    saturation = random.uniform(*_SATURATION)
    mixed = saturation * np.eye(3) + (1 - saturation) * np.array(_LUMA)
    # Row by row: NumPy would spread one large product over all cores.
    lit = image.astype(np.float32) @ (gains[:, None] * mixed).T.astype(np.float32)
    return np.clip(lit, 0, 255, out=lit).astype(np.uint8)


def _visible(
    corners: NDArray[np.float64], room: NDArray[np.int_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The boxes clipped to a width and height, and the mask of those that stay visible."""
    inside = np.minimum(np.maximum(corners, 0), room)
    width, height = (inside[:, 1] - inside[:, 0]).T
    whole = (corners[:, 1] - corners[:, 0]).prod(1)
    keep = width * height >= _MIN_VISIBLE * np.maximum(whole, 1e-9)
    keep &= (width >= _MIN_SIDE) & (height >= _MIN_SIDE)
    return inside[keep], keep
