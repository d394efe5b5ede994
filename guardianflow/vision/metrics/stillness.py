"""Detects pictures that stand still: frozen, perhaps under a running clock, or recorded repeatedly.

    frame and the one before, in blocks -> are half of the blocks the same?     no: it is live
        in the whole run, changed blocks only in the same tenth of the picture -> stands still
            runs of up to four frames -> repeats: the recording is faster than the camera
            longer runs               -> frozen
    a frame equals an earlier one bit by bit, except for a clock, with others in between
        between the two, movement only in the same tenth of the picture        -> frozen

A live picture has the noise of the sensor in every block, and people who move; a clock ticks in one
place. Codecs copy blocks that do not change, except some around the clock; a codec with varying
quality encodes the same picture alike when it returns to the same quality. The limits were measured
(docs/decisions/0031).
"""

import zlib
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_BLOCKS = 24
"""Blocks along the longer side: a clock covers a few, a walking person more."""
# Mean difference of a block in grey levels: 0.5 for noise of half a grey level, 0 if a codec copied
# the block.
_SAME = 0.02
# More than the difference between two encodings of the same block.
_MOVED = 3.0
_MOST = 0.5
# Share of blocks that equal an earlier frame: all but the clock. Black areas may be equal by
# chance, and so may a hall, except for the person who walks through it.
_AGAIN = 0.95
_CLOCK = 0.1
_MEMORY = 256
"""Earlier frames that are compared: nine minutes at one frame every two seconds."""
_REPEATS = 4
"""Most copies of one picture in a recording that is faster than its camera; 25 frames per second
recorded as 50 give two copies."""

_Mask = NDArray[np.bool_]
"""Selected blocks, shape (rows, columns), bool."""
_Grey = NDArray[np.int16]
"""A frame in grey levels, shape (H, W), int16."""


@dataclass(frozen=True)
class Still:
    """The frozen and repeated frames of a window."""

    frozen: int
    """Number of frames that show nothing new because the picture is frozen."""
    repeats: tuple[int, ...]
    """Positions of frames that a recording repeats: each equals the one before it."""


@dataclass
class _Row:
    """A run of frames, each mostly equal to the one before it."""

    first: int
    length: int = 1
    moved: _Mask | None = None
    """The blocks with movement in any of the frames."""
    alike: list[int] = field(default_factory=list[int])
    """Positions of the frames without any movement."""


@dataclass(frozen=True)
class _Look:
    """What is kept of a frame: checksum and mean of each block, shape (rows, columns)."""

    content: NDArray[np.uint32]
    mean: NDArray[np.float64]


class StillnessWatch:
    """Finds still frames in a window; takes them one by one and keeps only the last one whole."""

    def __init__(self) -> None:
        self._before: _Grey | None = None
        self._rows: list[_Row] = []
        self._looks: list[_Look] = []
        self._returned: set[int] = set()

    def look_at(self, frame: NDArray[np.uint8]) -> None:
        """Compare a frame with those before it.

        Args:
            frame: RGB, shape (H, W, 3), uint8.
        """
        from PIL import Image

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
        """Return what stood still."""
        frozen, repeats = set(self._returned), list[int]()
        most = min(_REPEATS, len(self._looks) // 2)
        for row in self._rows:
            if row.length <= most:
                repeats += row.alike
            elif row.moved is None or float(row.moved.mean()) <= _CLOCK:
                frozen |= set(range(row.first + 1, row.first + row.length))
        return Still(len(frozen), tuple(sorted(set(repeats) - frozen)))

    def _since(self, position: int) -> set[int]:
        """The frames after the last one that equals this one, if nothing moved in between."""
        now = self._looks[position]
        # Start with the previous frame, which differs but shows whether the size changed.
        for earlier in range(position - 1, max(-1, position - 2 - _MEMORY), -1):
            then = self._looks[earlier]
            if then.content.shape != now.content.shape:
                break
            if float((then.content == now.content).mean()) >= _AGAIN:
                between = np.stack([look.mean for look in self._looks[earlier + 1 : position + 1]])
                moved = (np.abs(between - then.mean) > _MOVED).any(axis=0)
                return set(range(earlier + 1, position + 1)) if moved.mean() <= _CLOCK else set()
        return set()


def _change(before: _Grey | None, now: _Grey) -> NDArray[np.float64] | None:
    """Mean difference of each block, shape (rows, columns); None if the size changed."""
    if before is None or before.shape != now.shape:
        return None
    return _means(np.abs(now - before))


def _means(grey: _Grey) -> NDArray[np.float64]:
    """The mean of each block, shape (rows, columns)."""
    rows, columns = _grid(grey)
    sums = np.add.reduceat(np.add.reduceat(grey, rows[:-1], 0, np.int64), columns[:-1], 1)
    return sums / np.outer(np.diff(rows), np.diff(columns))


def _content(grey: _Grey) -> NDArray[np.uint32]:
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


def _grid(grey: _Grey) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows, columns = (_cuts(side, max(grey.shape)) for side in grey.shape)
    return rows, columns


def _cuts(side: int, longer: int) -> NDArray[np.intp]:
    """Where a side is divided into roughly square blocks, including both ends."""
    return np.unique(
        np.linspace(0, side, max(1, round(_BLOCKS * side / longer)) + 1).astype(np.intp)
    )
