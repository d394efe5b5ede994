"""How a foreign detector is to be read: what its file may not say, and people may have to.

names of its classes + classes of the scenario --match_classes--> rows of its output
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from guardianflow.errors import ModelInvalid
from guardianflow.vision.data import class_names as data_classes

_LISTED = 40


class LayoutName(StrEnum):
    """What its outputs mean; see `layouts.LAYOUTS`."""

    RAW = "raw"
    END_TO_END = "end2end"
    OBJECTNESS = "objectness"
    ROWS = "rows"
    YOLOV7 = "yolov7"
    CANONICAL = "guardianflow"


class BoxForm(StrEnum):
    """How its boxes are written: in pixels of its input, or as fractions of the input's side."""

    CORNERS = "corners"
    CENTRE = "centre"
    CORNER_FRACTIONS = "corner-fractions"
    CENTRE_FRACTIONS = "centre-fractions"

    @classmethod
    def of(cls, *, centred: bool, fractions: bool) -> "BoxForm":
        """The form with these two properties."""
        if centred:
            return cls.CENTRE_FRACTIONS if fractions else cls.CENTRE
        return cls.CORNER_FRACTIONS if fractions else cls.CORNERS

    @property
    def centred(self) -> bool:
        """Whether a box is cx, cy, w, h; else it is x1, y1, x2, y2."""
        match self:
            case BoxForm.CENTRE | BoxForm.CENTRE_FRACTIONS:
                return True
            case BoxForm.CORNERS | BoxForm.CORNER_FRACTIONS:
                return False
            case _:
                assert_never(self)

    @property
    def fractions(self) -> bool:
        """Whether its numbers are fractions of the input's side."""
        match self:
            case BoxForm.CORNER_FRACTIONS | BoxForm.CENTRE_FRACTIONS:
                return True
            case BoxForm.CORNERS | BoxForm.CENTRE:
                return False
            case _:
                assert_never(self)


class InputRange(StrEnum):
    """What it takes a white pixel to be."""

    UNIT = "0..1"
    BYTES = "0..255"

    @property
    def white(self) -> int:
        """The value of a white pixel."""
        match self:
            case InputRange.UNIT:
                return 1
            case InputRange.BYTES:
                return 255
            case _:
                assert_never(self)


class ChannelOrder(StrEnum):
    """In which order it takes colours."""

    RGB = "rgb"
    BGR = "bgr"


@dataclass(frozen=True)
class Reading:
    """How a foreign detector is to be read.

    Attributes:
        classes: All its classes, in the order of their indices.
        rows: Which of them are wanted, in the order in which they are wanted.
        size: Side in pixels, where the file leaves it open.
        layout: None lets the shapes of its outputs say.
        input_range: None: 0..1 for floats, 0..255 for bytes.
        channel_order: Of the input.
        boxes: None lets what it answers say.
    """

    classes: tuple[str, ...]
    rows: tuple[int, ...]
    size: int
    layout: LayoutName | None = None
    input_range: InputRange | None = None
    channel_order: ChannelOrder = ChannelOrder.RGB
    boxes: BoxForm | None = None


def match_classes(
    names: Sequence[str], wanted: Sequence[str], mapping: Mapping[str, str], where: str
) -> tuple[int, ...]:
    """Which class of a file each class of the scenario is, by name.

    Capitals, blanks and hyphens make no difference; another word is another class.

    Args:
        names: The classes of the file, in the order of their indices.
        wanted: The classes of the scenario.
        mapping: What a class of the scenario is called in the file, where that differs.
        where: The file, for errors.

    Raises:
        ModelInvalid: A class of the scenario is not in the file, or not by a single name.
    """
    if unknown := sorted(set(mapping) - set(wanted)):
        raise ModelInvalid(
            f"--map {unknown[0]}={mapping[unknown[0]]}: the scenario has no class {unknown[0]!r}.",
            remedy=f"Its classes are {', '.join(wanted)}; write --map SCENARIO=FILE.",
            value=unknown[0],
        )
    listed = ", ".join(names[:_LISTED]) + (" ..." if len(names) > _LISTED else "")
    try:
        return data_classes.find_classes(names, wanted, mapping)
    except data_classes.NoMatch as error:
        raise ModelInvalid(
            f"{where} has {error.problem}. Its classes are {listed}.",
            remedy=f"Say which one it is: --map {error.name}=...; or name its classes in the order "
            "of their indices, if these are not they: --classes a,b,c",
            value=error.called,
        ) from error
