"""Confidence intervals: the bootstrap over images, and exact bounds for counts.

Objects in one image are not independent: they share light, camera and distance. So images are
resampled, not objects (B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter
13). If nothing was missed or nothing was wrong, all samples are equal and the bootstrap interval
has no width; exact bounds help there, which assume that objects or alarms are independent.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from guardianflow.stored import Strict
from guardianflow.vision.metrics.detections import Thresholds, limits
from guardianflow.vision.metrics.matching import OverlapTable, match_boxes
from guardianflow.vision.metrics.precision import (
    ALL,
    SIZES,
    Curve,
    average_precisions,
    curves,
    in_size,
)

CONFIDENCE = 0.95
DRAWS = 1000
_SEED = 20240229
# Numbers in one block of samples; limits the memory for any number of images.
_BLOCK = 1_000_000


class Interval(Strict):
    """A two-sided interval at the level `CONFIDENCE`: percentiles of the bootstrap."""

    low: float = Field(description="Lower end.")
    high: float = Field(description="Upper end.")

    def __contains__(self, figure: float) -> bool:
        return self.low <= figure <= self.high


@dataclass(frozen=True, eq=False)
class Draws:
    """Figures of B bootstrap samples: sets of the same size, drawn with replacement.

    Attributes:
        precision: Average precision by size (`all` and those of `SIZES`): shape (B, C, 10), NaN
            for samples without such an object.
        recall: At the thresholds, shape (B, C), NaN likewise.
        found: The same of all classes together, shape (B,).
        size_recall: The same by size, in the order of `SIZES`, shape (B, 3).
        false_alarms: Per image, shape (B, C).
    """

    precision: dict[str, NDArray[np.float64]]
    recall: NDArray[np.float64]
    found: NDArray[np.float64]
    size_recall: NDArray[np.float64]
    false_alarms: NDArray[np.float64]

    def map50(self, size: str = ALL) -> NDArray[np.float64]:
        """Return mAP50 of each sample, over the classes with objects in it, shape (B,)."""
        return _mean(self.precision[size][:, :, 0])

    def map50_95(self, size: str = ALL) -> NDArray[np.float64]:
        """Return the same, averaged over IoU 0.50, 0.55, ..., 0.95, shape (B,)."""
        return _mean(self.precision[size].mean(axis=2))


@dataclass(frozen=True, eq=False)
class Counts:
    """Objects, hits and false alarms in each image at the thresholds.

    Attributes:
        objects: Labelled objects of each class, shape (N, C), float64.
        hits: How many of them were shown, shape (N, C).
        alarms: Boxes shown where no such object is, shape (N, C).
        size_objects: Objects of each size of `SIZES`, shape (N, 3).
        size_hits: How many of them were shown, shape (N, 3).
    """

    objects: NDArray[np.float64]
    hits: NDArray[np.float64]
    alarms: NDArray[np.float64]
    size_objects: NDArray[np.float64]
    size_hits: NDArray[np.float64]


def count_by_image(layout: OverlapTable, class_count: int, thresholds: Thresholds) -> Counts:
    """Count objects, hits and false alarms in each image, at IoU 0.5."""
    found, objects = layout.found, layout.objects
    met = match_boxes(layout)[:, 0]
    shown = layout.scores >= limits(thresholds, found.classes)
    hit = np.zeros(len(objects.images), dtype=bool)
    hit[met[shown & (met >= 0)]] = True
    wrong = shown & (met < 0)

    def per_class(images: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.float64]:
        cells = np.bincount(
            images * class_count + classes, minlength=layout.image_count * class_count
        )
        return cells.reshape(layout.image_count, class_count).astype(np.float64)

    def per_size(use: NDArray[np.bool_]) -> NDArray[np.float64]:
        columns = [
            np.bincount(
                objects.images[use & in_size(objects.areas, size)], minlength=layout.image_count
            )
            for size in SIZES
        ]
        return np.stack(columns, axis=1).astype(np.float64)

    return Counts(
        objects=per_class(objects.images, objects.classes),
        hits=per_class(objects.images[hit], objects.classes[hit]),
        alarms=per_class(found.images[wrong], found.classes[wrong]),
        size_objects=per_size(np.ones_like(hit)),
        size_hits=per_size(hit),
    )


def bootstrap(
    layout: OverlapTable,
    class_count: int,
    thresholds: Thresholds,
    *,
    draws: int = DRAWS,
    sizes: Sequence[str] = (ALL, *SIZES),
) -> Draws:
    """Resample the images and measure each sample.

    The seed is fixed: two detectors on the same images get the same samples, so their differences
    are paired. Recall and false alarms are counted at the thresholds. Average precision is computed
    of each of `sizes`, which takes the same time for each.
    """
    tables = {size: curves(layout, class_count, size) for size in sizes}
    counts = count_by_image(layout, class_count, thresholds)
    longest = max(
        [layout.image_count]
        + [len(c.images) for table in tables.values() for levels in table for c in levels]
    )
    parts = [
        _measure(weights, tables, counts)
        for weights in _drawn(layout.image_count, draws, max(1, _BLOCK // max(1, longest)))
    ]
    return Draws(
        precision={
            size: np.concatenate([part.precision[size] for part in parts]) for size in tables
        },
        recall=np.concatenate([part.recall for part in parts]),
        found=np.concatenate([part.found for part in parts]),
        size_recall=np.concatenate([part.size_recall for part in parts]),
        false_alarms=np.concatenate([part.false_alarms for part in parts]),
    )


def measure_once(
    layout: OverlapTable,
    class_count: int,
    thresholds: Thresholds,
    *,
    sizes: Sequence[str] = (ALL, *SIZES),
) -> Draws:
    """Measure the images without resampling; returns the figures as one sample."""
    tables = {size: curves(layout, class_count, size) for size in sizes}
    even = np.ones((1, layout.image_count))
    return _measure(even, tables, count_by_image(layout, class_count, thresholds))


def interval(figures: NDArray[np.float64]) -> Interval:
    """Return the percentile interval of the samples; NaN (no such object) is left out."""
    tail = 100 * (1 - CONFIDENCE) / 2
    known = figures[~np.isnan(figures)]
    if not len(known):
        return Interval(low=0.0, high=1.0)
    low, high = np.percentile(known, [tail, 100 - tail])
    return Interval(low=float(low), high=float(high))


def share_at_least(hits: int, of: int) -> float:
    """Return the one-sided lower bound of a share (Clopper and Pearson, 1934)."""
    from scipy.special import betaincinv

    return float(betaincinv(hits, of - hits + 1, 1 - CONFIDENCE)) if hits else 0.0


def rate_at_most(events: int, over: int) -> float:
    """Return the one-sided upper bound of a rate per unit (Garwood, 1936)."""
    from scipy.special import gammaincinv

    return float(gammaincinv(events + 1, CONFIDENCE)) / max(1, over)


def rate_at_least(events: int, over: int) -> float:
    """Return the one-sided lower bound of a rate per unit (Garwood, 1936)."""
    from scipy.special import gammaincinv

    return float(gammaincinv(events, 1 - CONFIDENCE)) / max(1, over) if events else 0.0


def _drawn(images: int, draws: int, block: int) -> Generator[NDArray[np.float64]]:
    """How often each image is in each sample, shape (up to `block`, N), float64."""
    random = np.random.default_rng(_SEED)
    even = np.full(images, 1 / max(1, images))
    for start in range(0, draws if images else 0, block):
        rows = min(block, draws - start)
        yield random.multinomial(images, even, size=rows).astype(np.float64)


def _measure(
    weights: NDArray[np.float64], tables: dict[str, list[list[Curve]]], counts: Counts
) -> Draws:
    return Draws(
        precision={size: average_precisions(table, weights) for size, table in tables.items()},
        recall=_share(weights @ counts.hits, weights @ counts.objects),
        found=_share(weights @ counts.hits.sum(axis=1), weights @ counts.objects.sum(axis=1)),
        size_recall=_share(weights @ counts.size_hits, weights @ counts.size_objects),
        false_alarms=weights @ counts.alarms / weights.shape[1],
    )


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1.0), np.nan)


def _mean(figures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the second axis without NaN; NaN if all are NaN."""
    known = ~np.isnan(figures)
    return _share(np.where(known, figures, 0.0).sum(axis=1), known.sum(axis=1).astype(np.float64))
