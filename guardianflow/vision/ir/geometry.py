"""Tells from what a detector answers how its boxes are written, where its file does not say.

Read in the wrong form, boxes end before they begin or lie outside of the picture: in one form
nearly all of them are possible, in the other only a few.
"""

import numpy as np
from numpy.typing import NDArray

from guardianflow.vision.ir.reading import BoxForm

# Rows below it are padding, and their boxes nothing.
SCORED = 1e-3
# Boxes of an input of at least 32 pixels that never leave this are no pixels.
_FRACTION = 2.0
# A detector may place a box a little beyond the edge, by this share of the side.
_BEYOND = 0.1
# The usual form is doubted below the first share of possible boxes; another needs the second.
_DOUBTED, _PROVEN = 0.9, 0.95
_BEST = 300


def tell_form(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], size: int, usual: BoxForm
) -> BoxForm:
    """How boxes are written.

    Args:
        boxes: As the detector gives them, shape (F, A, 4), for F frames.
        scores: One probability per class, shape (F, A, C).
        size: Side of its input in pixels.
        usual: What detectors with such outputs mostly write: it stands where nothing speaks
            against it.
    """
    best = scores.max(axis=2, initial=0)
    # Of thousands of cells most saw nothing: what they say of a box is noise.
    rows = [
        found[order[score[order] > SCORED]]
        for found, score in zip(boxes, best, strict=True)
        for order in (np.argsort(-score, kind="stable")[:_BEST],)
    ]
    real = np.concatenate(rows) if rows else boxes.reshape(-1, 4)[:0]
    if not real.size or not np.isfinite(real).all():
        return usual
    fractions = bool(np.abs(real).max() <= _FRACTION)
    sides = real if fractions else real / np.float32(size)
    other = not usual.centred
    doubted = _possible(sides, centred=usual.centred) < _DOUBTED
    centred = other if doubted and _possible(sides, centred=other) >= _PROVEN else usual.centred
    return BoxForm.of(centred=centred, fractions=fractions)


def _possible(sides: NDArray[np.float32], *, centred: bool) -> float:
    """The share of boxes, in fractions of the side, that can be boxes of a picture."""
    first, second = sides[:, :2], sides[:, 2:]
    low, high = (first - second / 2, first + second / 2) if centred else (first, second)
    inside = (low >= -_BEYOND) & (high <= 1 + _BEYOND) & (low <= high)
    return float(inside.all(axis=1).mean())
