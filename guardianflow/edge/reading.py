"""How a foreign detector is to be read: what its file may not say, and people may have to.

names of its classes + classes of the scenario --match_classes--> rows of its output
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

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
    rows: list[int] = []
    for name in wanted:
        called = mapping.get(name, name)
        exact = [index for index, given in enumerate(names) if given == called]
        found = exact or [i for i, given in enumerate(names) if _plain(given) == _plain(called)]
        if len(found) == 1 and found[0] not in rows:
            rows += found
            continue
        if not found:
            problem = f"no class {called!r}, which the scenario wants as {name!r}"
        elif len(found) > 1:
            problem = f"{called!r} more than once"
        else:
            problem = f"{called!r} once, and the scenario wants it twice"
        raise ModelInvalid(
            f"{where} has {problem}. Its classes are {listed}.",
            remedy=f"Say which one it is: --map {name}=...; or choose another model.",
            value=called,
        )
    return tuple(rows)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())
