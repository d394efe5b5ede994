"""How to read a foreign detector: what people may have to say because its file does not.

names of its classes + classes of the scenario --match_classes--> rows of its output
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import assert_never

from pydantic import Field

from guardianflow.errors import ModelInvalid
from guardianflow.stored import Strict
from guardianflow.vision.data import class_names as data_classes

_LISTED = 40


class LayoutName(StrEnum):
    """The meaning of its outputs; see `layouts.LAYOUTS`."""

    RAW = "raw"
    END_TO_END = "end2end"
    OBJECTNESS = "objectness"
    ROWS = "rows"
    YOLOV7 = "yolov7"
    CANONICAL = "guardianflow"


class BoxForm(StrEnum):
    """The form of its boxes: in pixels of its input, or as fractions of the input's side."""

    CORNERS = "corners"
    CENTRE = "centre"
    CORNER_FRACTIONS = "corner-fractions"
    CENTRE_FRACTIONS = "centre-fractions"

    @classmethod
    def of(cls, *, centred: bool, fractions: bool) -> "BoxForm":
        """Return the form with these two properties."""
        if centred:
            return cls.CENTRE_FRACTIONS if fractions else cls.CENTRE
        return cls.CORNER_FRACTIONS if fractions else cls.CORNERS

    @property
    def centred(self) -> bool:
        """Whether a box is cx, cy, w, h; otherwise it is x1, y1, x2, y2."""
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
    """The range of its input values, from black to white."""

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
    """The order of its colour channels."""

    RGB = "rgb"
    BGR = "bgr"


class Reading(Strict):
    """How to read a foreign detector."""

    size: int = Field(description="Side in pixels, if the file leaves it open.")
    layout: LayoutName | None = Field(
        default=None, description="None: inferred from shapes and outputs."
    )
    input_range: InputRange | None = Field(
        default=None, description="None: 0..1 for floats, 0..255 for bytes."
    )
    channel_order: ChannelOrder = Field(default=ChannelOrder.RGB, description="Of its input.")
    boxes: BoxForm | None = Field(default=None, description="None: inferred from outputs.")


def match_classes(
    names: Sequence[str], wanted: Sequence[str], mapping: Mapping[str, str], where: str
) -> tuple[int, ...]:
    """Find the classes of a scenario in a file, by name.

    Case, spaces and hyphens make no difference; another word is another class.

    `class_names.find_classes` describes the arguments and the result; errors name the file as
    `where`.

    Raises:
        ModelInvalid: A class of the scenario is not in the file, or several names match it.
    """
    if unknown := sorted(set(mapping) - set(wanted)):
        raise ModelInvalid(
            f"--map {unknown[0]}={mapping[unknown[0]]}: the scenario has no class {unknown[0]!r}.",
            remedy=f"Its classes are {', '.join(wanted)}; use --map SCENARIO=FILE.",
            value=unknown[0],
        )
    listed = ", ".join(names[:_LISTED]) + (" ..." if len(names) > _LISTED else "")
    try:
        return data_classes.find_classes(names, wanted, mapping)
    except data_classes.ClassMismatch as error:
        raise ModelInvalid(
            f"{where} has {error.problem}. Its classes are {listed}.",
            remedy=f"Name the class in the file: --map {error.name}=... If these are not its "
            "classes, list them in the order of their indices: --classes a,b,c",
            value=error.called,
        ) from error
