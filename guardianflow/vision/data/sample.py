"""Labelled images and sets of them: the input of everything that trains or measures."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guardianflow.errors import DatasetInvalid
from guardianflow.vision.data.findings import DataFinding


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its objects.

    Attributes:
        image: The image file.
        boxes: x1, y1, x2, y2 in pixels of the upright image, shape (N, 4), float32.
        classes: Index into the data set's classes, shape (N,), int64.
        size: Width and height of the upright image in pixels.
        digest: sha256 of the image's bytes, a colon, sha256 of its objects.
        picture_hash: Perceptual hash as hex; '' if there is none.
    """

    image: Path
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    size: tuple[int, int]
    digest: str = ""
    picture_hash: str = ""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A checked data set.

    Attributes:
        root: Its folder.
        classes: Class names in the order of their ids.
        splits: The samples of at least one of `train`, `val` and `test`.
        fingerprint: sha256 of classes, images and labels, independent of their paths.
        warnings: The warnings of the check, as sentences.
        alike: Findings of one picture in two splits as different bytes.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, tuple[Sample, ...]]
    fingerprint: str
    warnings: tuple[str, ...] = ()
    alike: tuple[DataFinding, ...] = ()

    def split_fingerprint(self, split: str) -> str:
        """Return the sha256 of the classes and the content of one split.

        Raises:
            DatasetInvalid: The data set has no such split.
        """
        return content_digest(self.classes, {split: self.samples(split)})

    def samples(self, split: str) -> tuple[Sample, ...]:
        """Return the samples of one split.

        Raises:
            DatasetInvalid: The data set has no such split.
        """
        if split not in self.splits:
            raise DatasetInvalid(
                f"The data set {self.root} has no split {split!r}, only {', '.join(self.splits)}.",
                remedy=f"Add the key {split} to its data.yaml.",
                value=split,
            )
        return self.splits[split]


def content_digest(classes: Sequence[str], splits: Mapping[str, Sequence[Sample]]) -> str:
    """Return the sha256 of classes and samples, independent of their paths and order."""
    content = {split: sorted(s.digest for s in samples) for split, samples in splits.items()}
    text = json.dumps([list(classes), content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
