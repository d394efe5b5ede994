"""Whether the picture stands still: frozen under a running clock or not, or recorded too often.

    frame beside the one before, in blocks -> half of the blocks are the same?   no: it goes on
        changed blocks, over the whole row, all in the same tenth of the picture -> stands still
            rows of up to four frames -> repeats: a recording faster than its camera
            longer rows               -> frozen
    a frame is an earlier one again to the bit, but for a clock, after others came between
        nothing moved between the two, but in the same tenth of the picture -> frozen

A live camera shows that it lives by the noise of its sensor, which is in every block, and by
people, who move about; a clock ticks in one place. Codecs repeat a block that stayed as it was, but
for some around the clock; one whose quality goes up and down makes the same picture of it when it
has the same quality again. The limits were measured (docs/decisions/0031).
"""

import zlib
from dataclasses import dataclass, field
from itertools import pairwise

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
# So much of a picture is there again to the bit: all but the clock. What shows black may be by
# chance, and a hall but for the person who walks through it.
_AGAIN = 0.95
_CLOCK = 0.1
_MEMORY = 256
"""So many frames back an earlier one is looked for: nine minutes at one in two seconds."""
_REPEATS = 4
"""So often stands one picture in a recording that is faster than its camera; 25 frames a second
recorded as 50 make two of each."""

Mask = NDArray[np.bool_]
"""Which blocks, bool, shape (rows, columns)."""
Grey = NDArray[np.int16]


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


@dataclass(frozen=True)
class _Look:
    """What is kept of a frame: by block, what it is to the bit, and its mean; (rows, columns)."""

    content: NDArray[np.uint32]
    mean: NDArray[np.float64]


class StillnessWatch:
    """Looks at the frames of a window, one after the other; only the last one is kept whole."""

    def __init__(self) -> None:
        self._before: Grey | None = None
        self._rows: list[_Row] = []
        self._looks: list[_Look] = []
        self._returned: set[int] = set()

    def look_at(self, frame: NDArray[np.uint8]) -> None:
        """Compare a frame with those before it.

        Args:
            frame: RGB, shape (H, W, 3), uint8.
        """
        grey = np.asarray(Image.fromarray(frame).convert("L")).astype(np.int16)
        change = _change(self._before, grey)
        self._before = grey
        position = len(self._looks)
        self._looks.append(_Look(_content(grey), _means(grey)))
        if change is None or float((change < _SAME).mean()) < _MOST:
            self._rows.append(_Row(position))
            self._returned |= self._since(position)
            return
        row, moved = self._rows[-1], change > _MOVED
        row.length += 1
        row.moved = moved if row.moved is None else row.moved | moved
        if not moved.any():
            row.alike.append(position)

    def result(self) -> Still:
        """What stood still."""
        frozen, repeats = set(self._returned), list[int]()
        most = min(_REPEATS, len(self._looks) // 2)
        for row in self._rows:
            if row.length <= most:
                repeats += row.alike
            elif row.moved is None or float(row.moved.mean()) <= _CLOCK:
                frozen |= set(range(row.first + 1, row.first + row.length))
        return Still(len(frozen), tuple(sorted(set(repeats) - frozen)))

    def _since(self, position: int) -> set[int]:
        """The frames after the last one that this one is again, where nothing moved meanwhile."""
        now = self._looks[position]
        # From the one before, which is no such frame itself but may have another shape.
        for earlier in range(position - 1, max(-1, position - 2 - _MEMORY), -1):
            then = self._looks[earlier]
            if then.content.shape != now.content.shape:
                break
            if float((then.content == now.content).mean()) >= _AGAIN:
                between = np.stack([look.mean for look in self._looks[earlier + 1 : position + 1]])
                moved = (np.abs(between - then.mean) > _MOVED).any(axis=0)
                return set(range(earlier + 1, position + 1)) if moved.mean() <= _CLOCK else set()
        return set()


def _change(before: Grey | None, now: Grey) -> NDArray[np.float64] | None:
    """Mean difference of each block in grey levels, shape (rows, columns); None of other sizes."""
    if before is None or before.shape != now.shape:
        return None
    return _means(np.abs(now - before))


def _means(grey: Grey) -> NDArray[np.float64]:
    """The mean of each block, shape (rows, columns)."""
    rows, columns = _grid(grey)
    sums = np.add.reduceat(np.add.reduceat(grey, rows[:-1], 0, np.int64), columns[:-1], 1)
    return sums / np.outer(np.diff(rows), np.diff(columns))


def _content(grey: Grey) -> NDArray[np.uint32]:
    """A checksum of each block, shape (rows, columns)."""
    rows, columns = _grid(grey)
    plain = grey.astype(np.uint8)
    return np.array(
        [
            [
                zlib.crc32(plain[top:bottom, left:right].tobytes())
                for left, right in pairwise(columns)
            ]
            for top, bottom in pairwise(rows)
        ],
        np.uint32,
    )


def _grid(grey: Grey) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows, columns = (_cuts(side, max(grey.shape)) for side in grey.shape)
    return rows, columns


def _cuts(side: int, longer: int) -> NDArray[np.intp]:
    """Where a side is cut into blocks that are about square, its two ends with it."""
    return np.unique(
        np.linspace(0, side, max(1, round(_BLOCKS * side / longer)) + 1).astype(np.intp)
    )
