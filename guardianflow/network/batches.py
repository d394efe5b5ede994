"""Labelled images as tensors: letterboxed once, augmented anew in every epoch.

A batch is a function of the seed and the step's number alone: it is the same whichever thread makes
it, and whether or not the training was interrupted before.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from guardianflow.data.dataset import Sample, load_image
from guardianflow.edge.serving import letterbox
from guardianflow.network.assignment import Truth

# Decoded images stay in memory up to this size; beyond it they are decoded again.
_MEMORY_BYTES = 2 * 1024**3
_SCALE = (0.7, 1.4)
_BRIGHTNESS = (0.7, 1.3)
_TINT = 0.08
_GREY = 114
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


class Batches:
    """The samples of a split, ready for the network.

    Args:
        samples: What to learn from.
        image_size: Side S of the input.
    """

    def __init__(self, samples: Sequence[Sample], image_size: int) -> None:
        self._samples = samples
        self._size = image_size
        self._memory: dict[int, Fitted] = {}
        self._room = _MEMORY_BYTES // (3 * image_size * image_size)

    def __len__(self) -> int:
        return len(self._samples)

    def fitted(self, index: int) -> Fitted:
        """One sample, letterboxed as it will be on the edge box."""
        if index in self._memory:
            return self._memory[index]
        sample = self._samples[index]
        image, scale = letterbox(load_image(sample.image), self._size)
        fitted = Fitted(image, sample.boxes * np.float32(scale), sample.classes)
        if len(self._memory) < self._room:
            self._memory[index] = fitted
        return fitted

    def steps(self, batch_size: int) -> int:
        """Batches in one epoch, in which every sample comes once."""
        return math.ceil(len(self._samples) / batch_size)

    def batch(self, step: int, batch_size: int, seed: int) -> tuple[torch.Tensor, Truth]:
        """The augmented samples of one step of the training, counted from 0 over all epochs.

        Returns:
            images: RGB, shape (B, 3, S, S), uint8, channels last in memory.
            truth: The objects in them.

        Raises:
            DatasetInvalid: An image cannot be read any more; the message names its file.
        """
        epoch, place = divmod(step, self.steps(batch_size))
        order = _order(seed, epoch, len(self._samples))
        chosen = [
            # A generator for each: it does not matter what was drawn before, or by whom.
            augment(self.fitted(int(index)), np.random.default_rng((seed, epoch, int(index))))
            for index in order[place * batch_size : (place + 1) * batch_size]
        ]
        # NHWC bytes seen as NCHW are the channels-last layout already: no copy.
        stack = torch.from_numpy(np.stack([one.image for one in chosen]))
        return stack.permute(0, 3, 1, 2), pad_truth(chosen)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """In which order the samples come in one epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def pad_truth(samples: Sequence[Fitted]) -> Truth:
    """The objects of several images as one tensor each."""
    most = max((len(sample.classes) for sample in samples), default=0)
    boxes = torch.zeros(len(samples), most, 4)
    classes = torch.zeros(len(samples), most, dtype=torch.int64)
    present = torch.zeros(len(samples), most, dtype=torch.bool)
    for row, sample in enumerate(samples):
        count = len(sample.classes)
        boxes[row, :count] = torch.from_numpy(sample.boxes)
        classes[row, :count] = torch.from_numpy(sample.classes)
        present[row, :count] = True
    return Truth(boxes, classes, present)


def augment(sample: Fitted, random: np.random.Generator) -> Fitted:
    """Mirror, scale, shift, and change brightness and tint."""
    size = sample.image.shape[0]
    scale = float(np.exp(random.uniform(*np.log(_SCALE))))
    # Smaller images move within the frame; larger ones show a random part of themselves.
    low, high = sorted((0.0, size * (1.0 - scale)))
    left, top = random.uniform(low, high, 2)
    mirrored = random.random() < 0.5
    across = (-1 / scale, size + left / scale) if mirrored else (1 / scale, -left / scale)
    picture = Image.fromarray(sample.image).transform(
        (size, size),
        Image.Transform.AFFINE,
        (across[0], 0.0, across[1], 0.0, 1 / scale, -top / scale),
        Image.Resampling.BILINEAR,
        fillcolor=(_GREY, _GREY, _GREY),
    )
    gains = random.uniform(*_BRIGHTNESS) * random.uniform(1 - _TINT, 1 + _TINT, 3)
    levels = np.clip(np.arange(256) * gains[:, None] + 0.5, 0, 255).astype(np.uint8)
    image = np.asarray(picture.point(levels.flatten().tolist()))
    boxes = sample.boxes.copy()
    if mirrored:
        boxes[:, [0, 2]] = size - boxes[:, [2, 0]]
    boxes = boxes * scale + np.array([left, top, left, top])
    return _visible(image, boxes.astype(np.float32), sample.classes)


def _visible(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], classes: NDArray[np.int64]
) -> Fitted:
    inside = np.clip(boxes, 0, image.shape[0])
    sides = inside[:, 2:] - inside[:, :2]
    share = sides.prod(1) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-9)
    keep = (share >= _MIN_VISIBLE) & (sides.min(1, initial=np.inf) >= _MIN_SIDE)
    return Fitted(image, inside[keep], classes[keep])
