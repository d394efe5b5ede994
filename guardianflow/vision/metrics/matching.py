"""Matches detections to objects by COCO's rule: at most one object each, the best scores first.

    detections, labels --collect_overlaps--> tables and overlapping pairs --match_boxes--> matches

A detection is matched to the free object of its class with the highest overlap, if that reaches the
IoU. All images are matched at once, so that resampling them (intervals.py) needs no new matching.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from guardianflow.vision.data.sample import Sample
from guardianflow.vision.metrics.detections import Detections

IOUS = np.linspace(0.5, 0.95, 10)
# COCO's tolerance, for overlaps of exactly one half.
_TOLERANCE = 1e-10
# Areas are scaled to images with a longer side of 640 pixels, as COCO's own images have.
_REFERENCE_SIDE = 640.0
_Number = TypeVar("_Number", np.int64, np.float64)


@dataclass(frozen=True, eq=False)
class BoxTable:
    """Boxes of all images in one table: the detections, or the labelled objects.

    Attributes:
        images: Index of the image, shape (N,), int64, ascending.
        classes: Class indices, shape (N,), int64.
        areas: In pixels squared, the image scaled to a longer side of 640, shape (N,), float64.
    """

    images: NDArray[np.int64]
    classes: NDArray[np.int64]
    areas: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OverlapTable:
    """Detections and objects of a set of images, and the pairs that overlap by at least one half.

    Attributes:
        image_count: Images in the set, including those without any box.
        found: The detections, in each image in the order in which they were given.
        scores: Of the detections, shape (D,), float64.
        objects: The labelled objects.
        pair_found: Index of the detection of each overlapping pair, shape (P,), int64, ascending.
        pair_object: Index of its object, shape (P,), int64.
        overlaps: Its IoU, shape (P,), float64.
    """

    image_count: int
    found: BoxTable
    scores: NDArray[np.float64]
    objects: BoxTable
    pair_found: NDArray[np.int64]
    pair_object: NDArray[np.int64]
    overlaps: NDArray[np.float64]


def collect_overlaps(detections: Sequence[Detections], samples: Sequence[Sample]) -> OverlapTable:
    """Find the overlaps of detections and labels; detections are in the order of the samples."""
    pairs: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    seen = labelled = 0
    for found, sample in zip(detections, samples, strict=True):
        if len(found.boxes) and len(sample.boxes):
            table = iou_matrix(found.boxes, sample.boxes)
            rows, columns = np.nonzero(table >= IOUS[0] - _TOLERANCE)
            pairs.append((rows + seen, columns + labelled, table[rows, columns]))
        seen += len(found.boxes)
        labelled += len(sample.boxes)
    sizes = [sample.size for sample in samples]
    return OverlapTable(
        image_count=len(samples),
        found=_things([d.boxes for d in detections], [d.classes for d in detections], sizes),
        scores=_joined([d.scores for d in detections], np.float64),
        objects=_things([s.boxes for s in samples], [s.classes for s in samples], sizes),
        pair_found=_joined([rows for rows, _, _ in pairs], np.int64),
        pair_object=_joined([columns for _, columns, _ in pairs], np.int64),
        overlaps=_joined([overlaps for _, _, overlaps in pairs], np.float64),
    )


def match_boxes(
    layout: OverlapTable,
    *,
    ignored: NDArray[np.bool_] | None = None,
    shown: NDArray[np.bool_] | None = None,
    any_class: bool = False,
) -> NDArray[np.int64]:
    """Match each detection to an object at each IoU of `IOUS`.

    Args:
        layout: Detections and labels.
        ignored: Objects that are matched only if no other fits, shape (O,), bool.
        shown: Detections that take part, shape (D,), bool; None: all of them.
        any_class: Whether objects of other classes can be matched, too.

    Returns:
        Index of the matched object, -1 for none; shape (D, 10), int64.
    """
    found, objects = layout.found, layout.objects
    use = np.ones(len(layout.overlaps), dtype=bool)
    if not any_class:
        use &= found.classes[layout.pair_found] == objects.classes[layout.pair_object]
    if shown is not None:
        use &= shown[layout.pair_found]
    rows, columns = layout.pair_found[use], layout.pair_object[use]
    # Ignored objects rank below all others, in their own order.
    worth = layout.overlaps[use] - (0.0 if ignored is None else ignored[columns] * 1.0)
    rounds = _rounds(layout, rows, any_class=any_class)
    order = np.lexsort((columns, rows, rounds))
    rows, columns, worth, rounds = rows[order], columns[order], worth[order], rounds[order]
    enough = layout.overlaps[use][order][:, None] >= IOUS - _TOLERANCE
    met = np.full((len(found.images), len(IOUS)), -1, dtype=np.int64)
    free = np.ones((len(objects.images), len(IOUS)), dtype=bool)
    edges = np.searchsorted(rounds, np.arange(rounds[-1] + 2)) if len(rounds) else np.zeros(1, int)
    for start, stop in pairwise(edges):
        part = slice(start, stop)
        _match_round(rows[part], columns[part], worth[part], enough[part], met, free)
    return met


def _match_round(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    worth: NDArray[np.float64],
    enough: NDArray[np.bool_],
    met: NDArray[np.int64],
    free: NDArray[np.bool_],
) -> None:
    """Match one detection of every image (and class); no two can choose the same object."""
    firsts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    possible = free[columns] & enough
    values = np.where(possible, worth[:, None], -np.inf)
    best = np.repeat(np.maximum.reduceat(values, firsts), np.diff(np.r_[firsts, len(rows)]), axis=0)
    # Of equal overlaps COCO takes the later one.
    places = np.where(possible & (values == best), np.arange(len(rows))[:, None], -1)
    chosen = np.maximum.reduceat(places, firsts)
    which, level = np.nonzero(chosen >= 0)
    taken = columns[chosen[which, level]]
    met[rows[firsts][which], level] = taken
    free[taken, level] = False


def _rounds(layout: OverlapTable, rows: NDArray[np.int64], *, any_class: bool) -> NDArray[np.int64]:
    """The round of each pair: the rank of its detection by score in its image (and class)."""
    who = np.unique(rows)
    image = layout.found.images[who]
    label = np.zeros_like(image) if any_class else layout.found.classes[who]
    order = np.lexsort((-layout.scores[who], label, image))
    fresh = (np.diff(image[order], prepend=-1) != 0) | (np.diff(label[order], prepend=-1) != 0)
    starts = np.flatnonzero(fresh)
    place = np.empty(len(who), dtype=np.int64)
    place[order] = np.arange(len(who)) - np.repeat(starts, np.diff(np.r_[starts, len(who)]))
    return place[np.searchsorted(who, rows)]


def iou_matrix(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the IoU of every box (x1, y1, x2, y2) of (N, 4) with every one of (M, 4): (N, M)."""
    one, two = boxes.astype(np.float64)[:, None], others.astype(np.float64)[None]
    low = np.maximum(one[..., :2], two[..., :2])
    high = np.minimum(one[..., 2:], two[..., 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    union = _area(one) + _area(two) - common
    return common / np.maximum(union, 1e-9)


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(-1)


def _things(
    boxes: Sequence[NDArray[np.float32]],
    classes: Sequence[NDArray[np.int64]],
    sizes: Sequence[tuple[int, int]],
) -> BoxTable:
    counts = np.array([len(entry) for entry in classes], dtype=np.int64)
    scales = np.array([(_REFERENCE_SIDE / max(size)) ** 2 for size in sizes], dtype=np.float64)
    every = np.concatenate([*boxes, np.zeros((0, 4), np.float32)]).astype(np.float64)
    return BoxTable(
        images=np.repeat(np.arange(len(counts)), counts),
        classes=_joined(classes, np.int64),
        areas=_area(every) * np.repeat(scales, counts),
    )


def _joined(parts: Sequence[NDArray[Any]], kind: type[_Number]) -> NDArray[_Number]:
    return np.concatenate([*parts, np.zeros(0, kind)]).astype(kind)
