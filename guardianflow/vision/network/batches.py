"""Labelled images as tensors: letterboxed once, augmented anew in every epoch.

A batch is a function of the seed and the step's number alone: it is the same whichever thread makes
it, and whether or not the training was interrupted before.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from guardianflow.vision.data.dataset import Sample, load_image
from guardianflow.vision.ir.serving import letterbox
from guardianflow.vision.network.assignment import Truth
from guardianflow.vision.network.augmentation import LetterboxedSample, augment, mosaic

# Decoded images stay in memory up to this size; beyond it they are decoded again.
_MEMORY_BYTES = 2 * 1024**3
_PIXEL_BYTES = 3


class Batches:
    """The samples of a split, ready for the network.

    Args:
        samples: What to learn from.
        image_size: Side S of the input.
        mosaics: Which share of the augmented samples is put together from four.
        mosaic_epochs: For so many epochs, counted from the first.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        image_size: int,
        *,
        mosaics: float = 0.0,
        mosaic_epochs: int = 0,
    ) -> None:
        self._samples = samples
        self._size = image_size
        self._mosaics, self._mosaic_epochs = mosaics, mosaic_epochs
        self._memory: dict[int, LetterboxedSample] = {}
        self._room = _MEMORY_BYTES // (_PIXEL_BYTES * image_size * image_size)

    def __len__(self) -> int:
        return len(self._samples)

    def letterboxed(self, index: int) -> LetterboxedSample:
        """One sample, letterboxed as it will be on the edge box."""
        if index in self._memory:
            return self._memory[index]
        sample = self._samples[index]
        image, scale = letterbox(load_image(sample.image), self._size)
        boxes = sample.boxes * np.float32(scale)
        fitted = LetterboxedSample(image, boxes, sample.classes)
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
            self._augmented(int(index), epoch, seed)
            for index in order[place * batch_size : (place + 1) * batch_size]
        ]
        # NHWC bytes seen as NCHW are the channels-last layout already: no copy.
        stack = torch.from_numpy(np.stack([one.image for one in chosen]))
        return stack.permute(0, 3, 1, 2), pad_truth(chosen)

    def _augmented(self, index: int, epoch: int, seed: int) -> LetterboxedSample:
        # A generator for each: it does not matter what was drawn before, or by whom.
        random = np.random.default_rng((seed, epoch, index))
        if epoch >= self._mosaic_epochs or random.random() >= self._mosaics:
            return augment(self.letterboxed(index), random)
        others = random.integers(len(self), size=3).tolist()
        return mosaic([self.letterboxed(one) for one in (index, *others)], random)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """In which order the samples come in one epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def pad_truth(samples: Sequence[LetterboxedSample]) -> Truth:
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
