"""How a foreign detector is to be read: what its file may not say, and people may have to.

names of its classes + classes of the scenario --match_classes--> rows of its output
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from guardianflow.data import class_names as data_classes
from guardianflow.errors import ModelInvalid

_LISTED = 40


class LayoutName(StrEnum):
    """What its outputs mean; see `layouts.LAYOUTS`."""

    RAW = "raw"
    END_TO_END = "end2end"
    OBJECTNESS = "objectness"
    CANONICAL = "guardianflow"


class InputRange(StrEnum):
    """What it takes a white pixel to be."""

    UNIT = "0..1"
    BYTES = "0..255"


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
    """

    classes: tuple[str, ...]
    rows: tuple[int, ...]
    size: int
    layout: LayoutName | None = None
    input_range: InputRange | None = None
    channel_order: ChannelOrder = ChannelOrder.RGB


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
        return data_classes.match_classes(names, wanted, mapping)
    except data_classes.NoMatch as error:
        raise ModelInvalid(
            f"{where} has {error.problem}. Its classes are {listed}.",
            remedy=f"Say which one it is: --map {error.name}=...; or choose another model.",
            value=error.called,
        ) from error
