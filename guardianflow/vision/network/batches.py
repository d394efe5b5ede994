"""Makes batches of labelled images: letterboxed once, augmented differently in every epoch.

A batch depends only on the seed and the number of the step, not on the thread that makes it or on
an interruption of the training.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from guardianflow.vision.data.dataset import load_image
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.ir.serving import InputGeometry, place_frame
from guardianflow.vision.network.assignment import Truth
from guardianflow.vision.network.augmentation import LetterboxedSample, augment, mosaic

# Letterboxed images stay in memory up to this size; the others are decoded again.
_MEMORY_BYTES = 2 * 1024**3
_PIXEL_BYTES = 3


class Batches:
    """The samples of a split, ready for the network.

    Args:
        samples: The samples.
        image_size: Side S of the input in pixels.
        mosaics: Share of the augmented samples that are mosaics of four.
        mosaic_epochs: Number of epochs with mosaics, from the first.
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
        """Return one sample, letterboxed as on the edge box."""
        if index in self._memory:
            return self._memory[index]
        sample = self._samples[index]
        placed = place_frame(load_image(sample.image), InputGeometry(self._size, self._size))
        boxes = sample.boxes * placed.scale
        letterboxed = LetterboxedSample(placed.picture, boxes, sample.classes)
        if len(self._memory) < self._room:
            self._memory[index] = letterboxed
        return letterboxed

    def steps(self, batch_size: int) -> int:
        """Return the number of batches in one epoch, which has every sample once."""
        return math.ceil(len(self._samples) / batch_size)

    def batch(self, step: int, batch_size: int, seed: int) -> tuple[torch.Tensor, Truth]:
        """Return the augmented samples of one step, counted from 0 over all epochs.

        Returns:
            images: RGB, shape (B, 3, S, S), uint8, channels last in memory.
            truth: The objects in them.

        Raises:
            DatasetInvalid: An image can no longer be read.
        """
        epoch, place = divmod(step, self.steps(batch_size))
        order = _order(seed, epoch, len(self._samples))
        chosen = [
            self._augmented(int(index), epoch, seed)
            for index in order[place * batch_size : (place + 1) * batch_size]
        ]
        # NHWC bytes viewed as NCHW already are the channels-last layout: no copy.
        stack = torch.from_numpy(np.stack([one.image for one in chosen]))
        return stack.permute(0, 3, 1, 2), pad_truth(chosen)

    def _augmented(self, index: int, epoch: int, seed: int) -> LetterboxedSample:
        # One generator per sample: earlier draws and other threads have no influence.
        random = np.random.default_rng((seed, epoch, index))
        if epoch >= self._mosaic_epochs or random.random() >= self._mosaics:
            return augment(self.letterboxed(index), random)
        others = random.integers(len(self), size=3).tolist()
        return mosaic([self.letterboxed(one) for one in (index, *others)], random)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of the samples in one epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def pad_truth(samples: Sequence[LetterboxedSample]) -> Truth:
    """Stack the objects of several images into padded tensors."""
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
