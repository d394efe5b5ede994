"""Operating thresholds: the lowest score of a box that is shown to people, one per class.

They are chosen on the val split with the detector that is deployed, and stored in its IR. The
F-measure weighs misses against false alarms: recall counts beta^2 times as much as precision (C. J.
van Rijsbergen, Information Retrieval, 1979).
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guardianflow.vision.data.sample import Sample
from guardianflow.vision.ir import ir
from guardianflow.vision.ir.serving import MEASURING_THRESHOLD, SHOWN_THRESHOLD, IrDetector
from guardianflow.vision.metrics.detections import Detections, detect
from guardianflow.vision.metrics.matching import collect_overlaps, match_boxes

# A class with fewer objects gets no threshold of its own.
_MIN_OBJECTS = 10
_DIGITS = 4


def settle_thresholds(
    folder: Path,
    samples: Sequence[Sample],
    *,
    beta: float,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[float, ...]:
    """Choose the thresholds of a saved IR on the val split, and write them into it.

    `choose_thresholds` describes beta. `on_progress` is called with images done and in all.
    """
    detector = IrDetector(folder)
    found = detect(detector, samples, on_progress=on_progress)
    thresholds = choose_thresholds(found, samples, detector.classes, beta=beta)
    ir.set_thresholds(folder, thresholds)
    return thresholds


def choose_thresholds(
    detections: Sequence[Detections],
    samples: Sequence[Sample],
    classes: Sequence[str],
    *,
    beta: float,
) -> tuple[float, ...]:
    """Choose the threshold of each class with the highest F-beta on these images.

    A class with fewer than ten objects gets the threshold of all classes together; without any
    right detection that is `SHOWN_THRESHOLD`.

    Args:
        detections: One per sample, in the same order, with low scores kept.
        samples: The labelled images: the val split, never the one that is evaluated.
        classes: Class names in the order of their indices.
        beta: Weight of recall against precision, as in F-beta.
    """
    layout = collect_overlaps(detections, samples)
    right = match_boxes(layout)[:, 0] >= 0
    every = np.ones(len(right), dtype=bool)
    pooled = _best(layout.scores, right, every, len(layout.objects.images), beta)
    chosen: list[float] = []
    for label in range(len(classes)):
        objects = int((layout.objects.classes == label).sum())
        mine = layout.found.classes == label
        enough = objects >= _MIN_OBJECTS and right[mine].any()
        chosen.append(
            _best(layout.scores, right, mine, objects, beta) if enough else pooled,
        )
    return tuple(chosen)


def _best(
    scores: NDArray[np.float64],
    right: NDArray[np.bool_],
    mine: NDArray[np.bool_],
    objects: int,
    beta: float,
) -> float:
    """The threshold with the highest F-beta; of equal ones the highest, with fewest alarms."""
    order = np.argsort(-scores[mine], kind="stable")
    falling, hits = scores[mine][order], right[mine][order].cumsum()
    if not len(hits) or not hits[-1]:
        return SHOWN_THRESHOLD
    shown = np.arange(1, len(falling) + 1)
    measure = (1 + beta**2) * hits / (beta**2 * objects + shown)
    # Equal scores are shown together: only the last of them is a choice.
    choices = np.flatnonzero(np.r_[falling[1:] < falling[:-1], True])
    last = int(choices[measure[choices].argmax()])
    below = falling[last + 1] if last + 1 < len(falling) else MEASURING_THRESHOLD
    # Halfway to the next score, so that a small change of a score does not matter.
    middle = round(float((falling[last] + below) / 2), _DIGITS)
    if below < middle <= falling[last]:
        return middle
    return math.floor(falling[last] * 1e6) / 1e6
