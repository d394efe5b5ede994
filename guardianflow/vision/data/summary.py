"""Figures of a checked data set: counts by split and class, sizes of boxes and images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from guardianflow.vision.data.checker import CheckResult
from guardianflow.vision.data.sample import Sample

# Bounds of box sizes, as the square root of box area over image area.
_BOX_EDGES = (0, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0001)
_MAX_SIZES = 8


@dataclass(frozen=True)
class SplitFigures:
    """The content of one split.

    Attributes:
        images: Number of images.
        usable: Number of images that can be loaded.
        empty: Number of usable images without objects.
        boxes: Number of boxes by class name.
    """

    images: int
    usable: int
    empty: int
    boxes: Mapping[str, int]


def figures_by_split(checked: CheckResult) -> dict[str, SplitFigures]:
    """Count images and boxes of each split."""
    return {split: _figures(checked, split) for split in checked.splits}


def box_sizes(samples: Sequence[Sample]) -> list[tuple[str, int]]:
    """Count boxes by size, as a share of the image's side."""
    shares = [
        np.sqrt(np.prod(sample.boxes[:, 2:] - sample.boxes[:, :2], axis=1) / np.prod(sample.size))
        for sample in samples
    ]
    counts, _ = np.histogram(np.concatenate(shares) if shares else [], _BOX_EDGES)
    edges = [f"{100 * edge:.0f}" for edge in _BOX_EDGES]
    names = [f"{low}-{high} %" for low, high in pairwise(edges)]
    return list(zip(names, counts.tolist(), strict=True))


def image_sizes(samples: Sequence[Sample]) -> list[tuple[str, int]]:
    """Count images by size in pixels; rare sizes are counted together."""
    counts = Counter(sample.size for sample in samples)
    common = counts.most_common(_MAX_SIZES)
    rest = len(samples) - sum(count for _, count in common)
    listed = [(f"{width} x {height}", count) for (width, height), count in common]
    return [*listed, ("others", rest)] if rest else listed


def boxes_by_image(samples: Sequence[Sample]) -> list[tuple[str, int]]:
    """Count images by their number of boxes."""
    edges = (0, 1, 2, 3, 5, 10, 20, 50)
    names = ("0", "1", "2", "3-4", "5-9", "10-19", "20-49", "50+")
    counts, _ = np.histogram([len(sample.boxes) for sample in samples], [*edges, np.inf])
    return list(zip(names, counts.tolist(), strict=True))


def _figures(checked: CheckResult, split: str) -> SplitFigures:
    samples = checked.splits[split]
    counts = Counter(int(index) for sample in samples for index in sample.classes)
    named = {name: counts[index] for index, name in enumerate(checked.classes)}
    empty = sum(not len(sample.boxes) for sample in samples)
    return SplitFigures(checked.images[split], len(samples), empty, named)
