"""Average precision by COCO's definition, for many weightings of one set of images at once.

    matching --curves--> one curve per size, class and IoU --average_precisions(weights)--> figures

An image with weight 2 counts twice. With all weights 1 the figures are those of faster-coco-eval,
which the tests check.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardianflow.vision.metrics.matching import IOUS, OverlapTable, match_boxes

ALL = "all"
# COCO's sizes, in pixels squared of an image whose longer side has 640 pixels.
SIZES: Mapping[str, tuple[float, float]] = {
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, eq=False)
class Curve:
    """The data of one precision-recall curve: one class, at one IoU, in one range of sizes.

    Attributes:
        images: Image of each detection that counts, best first, up to the last right one; shape
            (K,), int64.
        right: Indices of the right ones among them, shape (R,), int64.
        objects: Objects in each image, shape (N,), float64.
    """

    images: NDArray[np.int64]
    right: NDArray[np.int64]
    objects: NDArray[np.float64]


def curves(layout: OverlapTable, class_count: int, size: str = ALL) -> list[list[Curve]]:
    """Return the curves of each class at each IoU, as lists of classes and in them of IoUs.

    Only objects of the size count. Detections that match an object of another size, or none while
    having another size themselves, are neither right nor wrong.
    """
    objects, found = layout.objects, layout.found
    counted = _within(objects.areas, size)
    met = match_boxes(layout, ignored=~counted)
    free = met < 0
    right = ~free & np.append(counted, False)[met]
    wrong = free & _within(found.areas, size)[:, None]
    order = np.argsort(-layout.scores, kind="stable")
    mine = [order[found.classes[order] == label] for label in range(class_count)]
    per_image = [
        np.bincount(
            objects.images[counted & (objects.classes == label)], minlength=layout.image_count
        ).astype(np.float64)
        for label in range(class_count)
    ]
    return [
        [
            _curve(found.images, rows, right[rows, level], wrong[rows, level], present)
            for level in range(len(IOUS))
        ]
        for rows, present in zip(mine, per_image, strict=True)
    ]


def _curve(
    images: NDArray[np.int64],
    rows: NDArray[np.int64],
    right: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
    objects: NDArray[np.float64],
) -> Curve:
    counts = right | wrong
    hits = np.flatnonzero(right[counts])
    # Detections after the last right one add no recall, so they change nothing.
    stop = int(hits[-1]) + 1 if len(hits) else 0
    return Curve(images[rows[counts][:stop]], hits, objects)


def _average_precision(curve: Curve, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area under one curve, sampled at 101 recalls; NaN if no object has any weight.

    `average_precisions` describes the weights; the areas have shape (B,), float64.
    """
    objects = weights @ curve.objects
    each = np.take(weights, curve.images, axis=1)
    seen = np.take(np.cumsum(each, axis=1), curve.right, axis=1)
    hits = np.cumsum(np.take(each, curve.right, axis=1), axis=1)
    precision = hits / np.maximum(seen, 1.0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(_RECALLS, hits / np.maximum(objects, 1.0)[:, None], side="right")
    gained = np.diff(reached, axis=1, prepend=0)
    return np.where(objects > 0, (best * gained).sum(axis=1) / len(_RECALLS), np.nan)


def average_precisions(
    table: list[list[Curve]], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return average precision for each row of weights, class and IoU.

    Args:
        table: Of `curves`.
        weights: How often each image counts, one row per figure, shape (B, N), float64.

    Returns:
        Shape (B, C, 10), float64; NaN for classes without objects.
    """
    figures = np.full((len(weights), len(table), len(IOUS)), np.nan)
    for label, levels in enumerate(table):
        for level, curve in enumerate(levels):
            figures[:, label, level] = _average_precision(curve, weights)
    return figures


def in_size(areas: NDArray[np.float64], size: str) -> NDArray[np.bool_]:
    """Return which boxes have a size of `SIZES`; both ends count, as in COCO."""
    low, high = SIZES[size]
    return (areas >= low) & (areas <= high)


def _within(areas: NDArray[np.float64], size: str) -> NDArray[np.bool_]:
    return np.ones(len(areas), dtype=bool) if size == ALL else in_size(areas, size)
