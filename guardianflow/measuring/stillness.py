"""Whether the picture stands still: frozen under a running clock or not, or recorded too often.

    frame beside the one before, in blocks -> half of the blocks are the same?   no: it goes on
        changed blocks, over the whole row, all in the same tenth of the picture -> stands still
            rows of up to four frames -> repeats: a recording faster than its camera
            longer rows               -> frozen

A live camera shows that it lives by the noise of its sensor, which is in every block, and by
people, who move about; a clock ticks in one place. Codecs repeat a block that stayed as it was, but
for some around the clock. The limits were measured (docs/decisions/0031).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_BLOCKS = 24
"""Blocks along the longer side: a clock covers a few, and a person's stride more."""
# Mean difference of a block in grey levels. Noise of half a grey level is 0.5; what a codec copies
# is 0.
_SAME = 0.02
# More than what a codec makes of the same block twice.
_MOVED = 3.0
_MOST = 0.5
_CLOCK = 0.1
_REPEATS = 4
"""So often stands one picture in a recording that is faster than its camera; 25 frames a second
recorded as 50 make two of each."""

Mask = NDArray[np.bool_]
"""Which blocks, bool, shape (rows, columns)."""


@dataclass(frozen=True)
class Still:
    """What stands still in a window of frames."""

    frozen: int
    """Frames that show what a picture that stands still showed before."""
    repeats: tuple[int, ...]
    """Positions of the frames that a recording repeats: each shows what the one before it does."""


@dataclass
class _Row:
    """Frames in a row, each of which is mostly like the one before it."""

    first: int
    length: int = 1
    moved: Mask | None = None
    """The blocks in which something moved, in any of them."""
    alike: list[int] = field(default_factory=list[int])
    """Positions of the frames in which nothing at all moved."""


class StillnessWatch:
    """Looks at the frames of a window, one after the other; only the last one is kept."""

    def __init__(self) -> None:
        self._before: NDArray[np.int16] | None = None
        self._rows: list[_Row] = []
        self._count = 0

    def look_at(self, frame: NDArray[np.uint8]) -> None:
        """Compare a frame with the one before it.

        Args:
            frame: RGB, shape (H, W, 3), uint8.
        """
        grey = np.asarray(Image.fromarray(frame).convert("L")).astype(np.int16)
        change = _change(self._before, grey)
        self._before = grey
        if change is None or float((change < _SAME).mean()) < _MOST:
            self._rows.append(_Row(self._count))
        else:
            row, moved = self._rows[-1], change > _MOVED
            row.length += 1
            row.moved = moved if row.moved is None else row.moved | moved
            if not moved.any():
                row.alike.append(self._count)
        self._count += 1

    def result(self) -> Still:
        """What stood still."""
        frozen, repeats = 0, list[int]()
        most = min(_REPEATS, self._count // 2)
        for row in self._rows:
            if row.length <= most:
                repeats += row.alike
            elif row.moved is None or float(row.moved.mean()) <= _CLOCK:
                frozen += row.length - 1
        return Still(frozen, tuple(repeats))


def _change(before: NDArray[np.int16] | None, now: NDArray[np.int16]) -> NDArray[np.float64] | None:
    """Mean difference of each block in grey levels, shape (rows, columns); None of other sizes."""
    if before is None or before.shape != now.shape:
        return None
    difference = np.abs(now - before)
    rows, columns = (_cuts(side, max(now.shape)) for side in now.shape)
    sums = np.add.reduceat(np.add.reduceat(difference, rows[:-1], 0, np.int64), columns[:-1], 1)
    return sums / np.outer(np.diff(rows), np.diff(columns))


def _cuts(side: int, longer: int) -> NDArray[np.intp]:
    """Where a side is cut into blocks that are about square, its two ends with it."""
    return np.linspace(0, side, max(1, round(_BLOCKS * side / longer)) + 1).astype(np.intp)
