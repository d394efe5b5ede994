"""Parses label files: reports wrong rows by line, and repairs what is safe to repair.

class cx cy w h               fractions of the image
class x1 y1 x2 y2 x3 y3 ...   a polygon: its bounding box is read, with a warning
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from guardianflow.vision.data.findings import DataFinding, Fault
from guardianflow.vision.data.rules import FaultCode
from guardianflow.vision.data.texts import decode_text

# An edge may be so far outside of the image, through rounding; beyond that the box is wrong.
_EDGE_TOLERANCE = 2e-3
# Exporters round to six digits: so much needs no finding.
_ROUNDING = 2e-6
_EVERYTHING = 0.995
_MAX_LISTED_ROWS = 100
_REMEDIES = {
    FaultCode.ROW_CLIPPED: "Nothing to do.",
    FaultCode.ROW_EMPTY: "Remove the row, or draw the box again.",
    FaultCode.ROW_TWICE: "Nothing to do; an exporter or a merge wrote it twice.",
    FaultCode.ROW_POLYGON: "If there are detection boxes, export them instead.",
    FaultCode.ROW_CLASS_DECIMAL: "Write class ids as whole numbers.",
    FaultCode.BOX_TWO_CLASSES: "Remove the wrong one.",
    FaultCode.BOX_EVERYTHING: "Check whether it is a box, or a label for the whole image.",
}

_PHRASES = {
    FaultCode.ROW_CLIPPED: "box {value} crosses the border by a rounding error",
    FaultCode.ROW_EMPTY: "box {value} has no area",
    FaultCode.ROW_TWICE: "row {value} is repeated",
    FaultCode.ROW_POLYGON: "row {value} is a polygon",
    FaultCode.ROW_CLASS_DECIMAL: "class id {value} has a decimal point",
    FaultCode.BOX_TWO_CLASSES: "the same box has {value}",
    FaultCode.BOX_EVERYTHING: "box {value} is as large as the image",
}

Row = tuple[int, float, float, float, float]
"""Class, x1, y1, x2, y2; fractions of the image."""


@dataclass
class _Reading:
    """The state of reading a label file."""

    file: Path | str
    class_count: int
    rows: dict[Row, None] = field(default_factory=dict[Row, None])
    wrong: list[tuple[int, Fault]] = field(default_factory=list[tuple[int, Fault]])
    suppressed: int = 0
    counted: dict[FaultCode, tuple[int, int, str]] = field(
        default_factory=dict[FaultCode, tuple[int, int, str]]
    )

    def count(self, code: FaultCode, line: int, value: str) -> None:
        """Count a repeated kind of finding; the first value is shown."""
        count, first, shown = self.counted.get(code, (0, line, value))
        self.counted[code] = (count + 1, first, shown)


def parse_labels(
    file: Path | str, content: bytes, class_count: int
) -> tuple[tuple[Row, ...], tuple[DataFinding, ...]]:
    """Parse a label file; an empty one means an image without objects.

    The findings, which name the file, say what is wrong or was repaired. A `class_count` of 0 means
    that it is unknown.

    Raises:
        Fault: The content is not text.
    """
    text = decode_text(content)
    reading = _Reading(file, class_count)
    for number, line in enumerate(text.text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            row = _read_row(reading, number, words)
        except Fault as fault:
            if len(reading.wrong) < _MAX_LISTED_ROWS:
                reading.wrong.append((number, fault))
            else:
                reading.suppressed += 1
            continue
        if row in reading.rows:
            reading.count(FaultCode.ROW_TWICE, number, _shown(words))
        elif row is not None:
            reading.rows[row] = None
    _compare_classes(reading)
    encoding = [text.fault.at(file)] if text.fault else []
    return tuple(reading.rows), (*encoding, *_findings(reading))


def _read_row(reading: _Reading, line: int, words: list[str]) -> Row | None:
    """Parse one row; None if its box has no area.

    Raises:
        Fault: The row is wrong.
    """
    outline = len(words) >= 7 and len(words) % 2 == 1
    if len(words) != 5 and not outline:
        raise _wrong_columns(words)
    class_id = _read_class(reading, line, words[0])
    numbers = _read_numbers(words)
    if outline:
        reading.count(FaultCode.ROW_POLYGON, line, _shown(words))
        xs, ys = numbers[::2], numbers[1::2]
        box = (min(xs), min(ys), max(xs), max(ys))
    else:
        box = _corners(numbers)
    if box[0] >= box[2] or box[1] >= box[3]:
        reading.count(FaultCode.ROW_EMPTY, line, _shown(words))
        return None
    outside = max(-min(box), max(box) - 1)
    if outside > _EDGE_TOLERANCE:
        raise _outside(numbers, outline=outline)
    if outside > _ROUNDING:
        reading.count(FaultCode.ROW_CLIPPED, line, _shown(words))
    x1, y1, x2, y2 = (min(max(edge, 0.0), 1.0) for edge in box)
    if x2 - x1 >= _EVERYTHING and y2 - y1 >= _EVERYTHING:
        reading.count(FaultCode.BOX_EVERYTHING, line, _shown(words))
    return class_id, x1, y1, x2, y2


def _read_class(reading: _Reading, line: int, word: str) -> int:
    try:
        number = _number(word)
        class_id = int(number)
    except (ValueError, OverflowError):
        number, class_id = math.nan, 0
    if number != class_id:
        raise Fault(
            FaultCode.ROW_CLASS_TEXT,
            f"class id {_shown([word])!r} is not a whole number",
            "The first column is the index of the class in `names`.",
            value=word,
        )
    if not word.lstrip("+-").isdigit():
        reading.count(FaultCode.ROW_CLASS_DECIMAL, line, word)
    if class_id < 0 or (reading.class_count and class_id >= reading.class_count):
        raise Fault(
            FaultCode.ROW_CLASS_UNKNOWN,
            f"class id {_shown([str(class_id)])}, but data.yaml names {reading.class_count} classes"
            f" (0 to {reading.class_count - 1})",
            "Correct the row, or complete `names` in data.yaml.",
            value=class_id,
        )
    return class_id


def _read_numbers(words: list[str]) -> list[float]:
    try:
        numbers = [_number(word) for word in words[1:]]
    except ValueError as error:
        raise Fault(
            FaultCode.ROW_NUMBER,
            str(error),
            "Write coordinates as decimal numbers with a point.",
            words[1:9],
        ) from None
    if not all(map(math.isfinite, numbers)):
        raise Fault(
            FaultCode.ROW_NOT_FINITE,
            f"box {_shown(words[1:])} is not finite",
            "Draw the box again.",
            value=_shown(words[1:]),
        )
    return numbers


def _number(word: str) -> float:
    """Parse a number; `float` alone would accept 1_0 and digits of other scripts.

    Raises:
        ValueError: The word is not a number.
    """
    if "_" not in word and word.isascii():
        with suppress(ValueError):
            return float(word)
    raise ValueError(f"could not convert string to float: {_shown([word])!r}")


def _corners(numbers: list[float]) -> tuple[float, float, float, float]:
    cx, cy, width, height = numbers
    if width < 0 or height < 0:
        value = " ".join(f"{number:g}" for number in numbers)
        raise Fault(
            FaultCode.ROW_NEGATIVE,
            f"box {value} has no area: its size is negative",
            "Its corners were swapped, or it holds corners instead of centre and size: export it "
            "again.",
            value=value,
        )
    if not width or not height:
        return cx, cy, cx, cy
    return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2


def _outside(numbers: list[float], *, outline: bool) -> Fault:
    value = _shown([f"{number:g}" for number in numbers])
    if max(numbers) > 2:
        hint = "The numbers look like pixels: divide them by the image's width and height."
    elif not outline and _are_corners(numbers):
        hint = "The numbers look like two corners (x1 y1 x2 y2): write centre, width and height."
    else:
        hint = "Clip the box at the border; all numbers are fractions of the image."
    return Fault(FaultCode.ROW_OUTSIDE, f"box {value} is partly outside", hint, value=value)


def _are_corners(numbers: list[float]) -> bool:
    x1, y1, x2, y2 = numbers
    return min(numbers) >= 0 and max(numbers) <= 1 and x1 < x2 and y1 < y2


def _wrong_columns(words: list[str]) -> Fault:
    if len(words) == 6:
        hint = "Six look like predictions with a confidence: remove the last column."
    elif len(words) == 1 and "," in words[0]:
        hint = "Separate the columns with spaces, not commas."
    else:
        hint = "A row is: class cx cy w h."
    return Fault(FaultCode.ROW_COLUMNS, f"{len(words)} columns, not 5", hint, value=_shown(words))


def _shown(words: list[str]) -> str:
    text = " ".join(words[:9])
    return text[:80] + ("..." if len(text) > 80 or len(words) > 9 else "")


def _compare_classes(reading: _Reading) -> None:
    """Count boxes that occur with two classes."""
    owner: dict[tuple[float, ...], int] = {}
    for class_id, *box in reading.rows:
        other = owner.setdefault(tuple(box), class_id)
        if other != class_id:
            reading.count(FaultCode.BOX_TWO_CLASSES, 0, f"classes {other} and {class_id}")


def _findings(reading: _Reading) -> Iterator[DataFinding]:
    file = reading.file
    for line, fault in reading.wrong:
        yield fault.at(file, line=line)
    if reading.suppressed:
        what = f"{reading.suppressed} more rows are wrong"
        remedy = "This does not look like a label file in YOLO format: export it again."
        fault = Fault(FaultCode.LABEL_HOPELESS, what, remedy, value=reading.suppressed)
        yield fault.at(file, count=reading.suppressed)
    for code, (count, line, value) in reading.counted.items():
        what = _PHRASES[code].format(value=value)
        if count > 1:
            what += f", and {count - 1} more like it"
        fault = Fault(code, what, _REMEDIES[code], value=value)
        yield fault.at(file, line=line or None, count=count)
