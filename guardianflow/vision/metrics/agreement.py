"""How far two detectors give the same answers on the same images; no labels are needed."""

from collections.abc import Sequence

import numpy as np

from guardianflow.vision.metrics.detections import Detections, Seen
from guardianflow.vision.metrics.matching import IOUS, iou_matrix


def agreement(first: Seen, second: Seen) -> float:
    """Return the share of shown boxes, of both detectors, that the other one has as well.

    It has the same class, an IoU of at least one half, and at least half the score from which it
    would be shown: a score that moves across its threshold is no disagreement. It is 1 if neither
    shows a box.
    """
    pairs = [
        (one, other)
        for shown, kept in ((first, second), (second, first))
        for one, other in zip(shown.shown(), _likely(kept), strict=True)
    ]
    boxes = sum(len(one.scores) for one, _ in pairs)
    return sum(_common(one, other) for one, other in pairs) / boxes if boxes else 1.0


def _likely(seen: Seen) -> Sequence[Detections]:
    halves = [threshold / 2 for threshold in seen.thresholds]
    return [found.above(halves) for found in seen.detections]


def _common(one: Detections, other: Detections) -> int:
    """Count the boxes of one that the other has as well."""
    if not len(one.scores) or not len(other.scores):
        return 0
    same = one.classes[:, None] == other.classes[None]
    near = iou_matrix(one.boxes, other.boxes) >= IOUS[0]
    return int(np.count_nonzero((same & near).any(axis=1)))
