"""Infers the box form of a detector from its outputs, if the file does not say.

Read in the wrong form, boxes have negative sizes or lie outside the image: in the right form nearly
all of them are possible, in the other only a few.
"""

import numpy as np
from numpy.typing import NDArray

from guardianflow.vision.ir.layouts.protocol import InputSize
from guardianflow.vision.ir.reading import BoxForm

# Rows with lower scores are padding; their boxes mean nothing.
MIN_SCORE = 1e-3
# Inputs have 32 pixels or more, so boxes that never exceed this are fractions.
_MAX_FRACTION = 2.0
# A detector may place a box a little beyond the edge, by this share of the side.
_BEYOND_EDGE = 0.1
# The usual form is doubted below the first share of possible boxes; another needs the second.
_DOUBTED, _PROVEN = 0.9, 0.95
_BEST_BOXES = 300


def infer_box_form(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], side: InputSize, usual: BoxForm
) -> BoxForm:
    """Infer the form of boxes from their values.

    Args:
        boxes: As the detector outputs them, shape (F, A, 4), float32, for F frames.
        scores: One probability per class, shape (F, A, C), float32.
        side: Size of its input.
        usual: The usual form of such detectors; returned unless the values contradict it.
    """
    best = scores.max(axis=2, initial=0)
    # Most of the thousands of cells contain nothing: their boxes are noise.
    rows = [
        found[order[score[order] > MIN_SCORE]]
        for found, score in zip(boxes, best, strict=True)
        for order in (np.argsort(-score, kind="stable")[:_BEST_BOXES],)
    ]
    real = np.concatenate(rows) if rows else boxes.reshape(-1, 4)[:0]
    if not real.size or not np.isfinite(real).all():
        return usual
    fractions = bool(np.abs(real).max() <= _MAX_FRACTION)
    whole = np.array([side.width, side.height] * 2, np.float32)
    sides = real if fractions else real / whole
    other = not usual.centred
    doubted = _possible(sides, centred=usual.centred) < _DOUBTED
    centred = other if doubted and _possible(sides, centred=other) >= _PROVEN else usual.centred
    return BoxForm.of(centred=centred, fractions=fractions)


def _possible(sides: NDArray[np.float32], *, centred: bool) -> float:
    """The share of boxes, given in fractions of the side, that are possible in an image."""
    first, second = sides[:, :2], sides[:, 2:]
    low, high = (first - second / 2, first + second / 2) if centred else (first, second)
    inside = (low >= -_BEYOND_EDGE) & (high <= 1 + _BEYOND_EDGE) & (low <= high)
    return float(inside.all(axis=1).mean())
