"""What a person says about a foreign model when it is imported."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from guardianflow.vision.ir.reading import (
    MAX_CHANNEL,
    MAX_MEMORY_GIB,
    MAX_MINUTES,
    MIN_MEMORY_GIB,
    MIN_MINUTES,
    MIN_STD,
    Background,
    BoxForm,
    ChannelOrder,
    InputRange,
    LayoutName,
    Placement,
    ScoreForm,
)

# Checked where the options are read from a file; the command line checks them itself.
_Mean = Annotated[float, Field(ge=0, le=MAX_CHANNEL)]
_Std = Annotated[float, Field(ge=MIN_STD, le=MAX_CHANNEL)]


@dataclass(frozen=True)
class ImportOptions:
    """What the caller knows about a foreign model that its file may not say.

    What is None is decided by the file, its family of detectors, its outputs, or by trying it on
    the val split.

    Attributes:
        classes: Its class names in the order of their indices; empty: the file names them.
        mapping: What a class of the scenario is called in the file, where that differs.
        layout: What its outputs mean.
        input_range: Its input value of a white pixel.
        channel_order: The order of its colour channels.
        mean: What is subtracted from each channel, in the range and order of its input.
        std: What each channel is divided by.
        placement: Where a frame is placed in its input.
        boxes: How its boxes are written.
        scores: How its scores are written.
        background: The place of the class for no object, if it has one.
        max_memory_gib: Memory limit for reading it and running it once.
        max_minutes: Time limit for that.
        source: Where the file came from, if not from this machine, e.g. `models:/ppe-by-hand/3`.
    """

    classes: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict[str, str])
    layout: LayoutName | None = None
    input_range: InputRange | None = None
    channel_order: ChannelOrder | None = None
    mean: tuple[_Mean, _Mean, _Mean] | None = None
    std: tuple[_Std, _Std, _Std] | None = None
    placement: Placement | None = None
    boxes: BoxForm | None = None
    scores: ScoreForm | None = None
    background: Background | None = None
    max_memory_gib: Annotated[float, Field(ge=MIN_MEMORY_GIB, le=MAX_MEMORY_GIB)] = 8.0
    max_minutes: Annotated[float, Field(ge=MIN_MINUTES, le=MAX_MINUTES)] = 10.0
    source: str = ""
