"""How to read a foreign detector: what people may have to say because its file does not.

names of its classes + classes of the scenario --match_classes--> rows of its output
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Final, assert_never

from pydantic import Field

from guardianflow.errors import ModelInvalid
from guardianflow.stored import Strict
from guardianflow.vision.data import class_names as data_classes

_LISTED, _SHOWN = 40, 80


MAX_CHANNEL: Final = 255
"""Of a mean or a deviation: channels have at most 255."""
MIN_STD: Final = 1e-6
_Mean = Annotated[float, Field(ge=0, le=MAX_CHANNEL)]
_Std = Annotated[float, Field(ge=MIN_STD, le=MAX_CHANNEL)]
Channels = tuple[float, float, float]
"""A value for each channel, in the order of the detector's input."""
# What may be said of limits.
MIN_MEMORY_GIB, MAX_MEMORY_GIB = 0.25, 4096.0
MIN_MINUTES, MAX_MINUTES = 0.1, 10_080.0


class LayoutName(StrEnum):
    """The meaning of its outputs; see `layouts.LAYOUTS`."""

    RAW = "raw"
    END_TO_END = "end2end"
    OBJECTNESS = "objectness"
    ROWS = "rows"
    YOLOV7 = "yolov7"
    YOLOX = "yolox"
    NANODET = "nanodet"
    HEADS = "heads"
    DETECTIONS = "detections"
    SSD = "ssd"
    PADDLE = "paddle"
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


class Placement(StrEnum):
    """Where a frame is placed in the input; see `serving.InputGeometry`."""

    CORNER = "corner"
    CENTRE = "centre"
    STRETCH = "stretch"


class ScoreForm(StrEnum):
    """The form of its scores."""

    PROBABILITIES = "probabilities"
    LOGITS = "logits"
    SOFTMAX = "softmax"
    """Logits, one of them for "no object"."""


class Background(StrEnum):
    """The place of the class that stands for no object, if there is one."""

    FIRST = "first"
    LAST = "last"


class OpenQuestion(StrEnum):
    """What neither a person, nor the file, nor its family says."""

    PIXELS = "pixels"
    PLACEMENT = "placement"
    SCORES = "scores"
    BACKGROUND = "background"


class Pixels(Strict):
    """What a detector takes pixels to be: (value in `input_range` - mean) / deviation."""

    input_range: InputRange = Field(description="From black to white.")
    channel_order: ChannelOrder = Field(description="Of its input.")
    mean: Channels | None = Field(default=None, description="Subtracted; None: 0.")
    std: Channels | None = Field(default=None, description="Divided by; None: 1.")

    def describe(self) -> str:
        """Return e.g. `0..255 bgr, less 103.5 116.3 123.7, divided by 57.4 57.1 58.4`."""
        told = f"{self.input_range} {self.channel_order}"
        for words, values in (("less", self.mean), ("divided by", self.std)):
            if values:
                told += f", {words} " + " ".join(f"{value:.4g}" for value in values)
        return told


class ReadingOptions(Strict):
    """How to read a foreign detector, as far as a person says it.

    What is None is decided by the file, by what its family of detectors does, by the outputs, or by
    trying it on labelled images.
    """

    layout: LayoutName | None = Field(default=None, description="Of its outputs.")
    input_range: InputRange | None = Field(default=None, description="From black to white.")
    channel_order: ChannelOrder | None = Field(default=None, description="Of its input.")
    mean: tuple[_Mean, _Mean, _Mean] | None = Field(
        default=None,
        description="Subtracted from each channel, in its range and order.",
    )
    std: tuple[_Std, _Std, _Std] | None = Field(
        default=None, description="What each channel is divided by then."
    )
    placement: Placement | None = Field(default=None, description="Of a frame in the input.")
    boxes: BoxForm | None = Field(default=None, description="Of its outputs.")
    scores: ScoreForm | None = Field(default=None, description="Of its outputs.")
    background: Background | None = Field(default=None, description="Of its classes.")

    def says_pixels(self) -> bool:
        """Return whether a person says what the detector takes pixels to be."""
        said = (self.input_range, self.channel_order, self.mean, self.std)
        return any(one is not None for one in said)

    def pixels(self, usual: Pixels) -> Pixels:
        """Return what it takes pixels to be: as a person says, and the rest as usual.

        A range of one's own comes without the usual mean, which is of another range.
        """
        alike = self.input_range in (None, usual.input_range)
        return Pixels(
            input_range=self.input_range or usual.input_range,
            channel_order=self.channel_order or usual.channel_order,
            mean=self.mean or (usual.mean if alike else None),
            std=self.std or (usual.std if alike else None),
        )


class Reading(ReadingOptions):
    """How to read a foreign detector for a scenario."""

    size: int = Field(description="Side in pixels, if the file leaves it open.")


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
    shown = [name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..." for name in names[:_LISTED]]
    listed = ", ".join(shown) + (" ..." if len(names) > _LISTED else "")
    try:
        return data_classes.find_classes(names, wanted, mapping)
    except data_classes.ClassMismatch as error:
        raise ModelInvalid(
            f"{where} has {error.problem}. Its classes are {listed}.",
            remedy=f"Name the class in the file: --map {error.name}=... If these are not its "
            "classes, list them in the order of their indices: --classes a,b,c",
            value=error.called,
        ) from error
