"""The record of where an imported detector comes from and how its file was read."""

import hashlib

from pydantic import Field

from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from guardianflow.stored import Stored, as_json, settled
from guardianflow.vision.ir.reading import (
    Background,
    BoxForm,
    ChannelOrder,
    Channels,
    InputRange,
    LayoutName,
    Pixels,
    Placement,
    ScoreForm,
)

_FILE_TAG = "guardianflow.origin"
_SHA256_TAG = "guardianflow.origin_sha256"
_LICENCE_TAG = "guardianflow.licence"


class Origin(Stored):
    """Where an imported detector comes from, and how its file was read; kept with its run."""

    file: str = Field(description="Name of the file.")
    source: str = Field(description="What it was fetched from, e.g. models:/ppe/3; '' for a file.")
    sha256: str = Field(description="Over all files that belong to it.")
    format: str = Field(description="onnx or openvino.")
    producer: str = Field(description="Who wrote the file; '' if unsaid.")
    opset: int = Field(description="Version of ONNX's operators; 0 if unsaid.")
    licence: str = Field(description="As the file states it; '' if it does not.")
    layout: LayoutName = Field(description="What its outputs mean.")
    input_range: InputRange = Field(description="What it takes a white pixel to be.")
    channel_order: ChannelOrder = Field(description="In which order it takes colours.")
    size: int = Field(description="The longer side of its input in pixels.")
    precision: str = Field(description="Of its weights: fp32 or fp16.")
    classes: dict[str, str] = Field(description="What each class of ours is called in the file.")
    boxes: BoxForm | None = Field(
        default=None, description="How its boxes are written; None: as is usual for the layout."
    )
    shape: tuple[int, int] | None = Field(
        default=None, description="Height and width of its input; None: a square."
    )
    mean: Channels | None = Field(default=None, description="Subtracted from pixels; None: 0.")
    std: Channels | None = Field(default=None, description="Pixels are divided by; None: 1.")
    placement: Placement = Field(
        default=Placement.CORNER, description="Where a frame is placed in its input."
    )
    scores: ScoreForm = Field(
        default=ScoreForm.PROBABILITIES, description="How its scores are written."
    )
    background: Background | None = Field(
        default=None, description="Place of the class for no object; None: it has none."
    )
    family: str = Field(default="", description="Family of detectors; '' if not recognised.")
    tried: tuple[str, ...] = Field(
        default=(), description="What was tried on val because nothing said it, and what was taken."
    )

    def pixels(self) -> Pixels:
        """Return what it takes pixels to be."""
        return Pixels(
            input_range=self.input_range,
            channel_order=self.channel_order,
            mean=self.mean,
            std=self.std,
        )

    def as_params(self) -> dict[str, object]:
        """Return the parameters of its run; `tried` is longer than a parameter may be."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"tried"})

    def tags(self) -> dict[str, str]:
        """Return the tags of a version that name it."""
        return {
            _FILE_TAG: self.source or self.file,
            _SHA256_TAG: self.sha256,
            _LICENCE_TAG: self.licence,
        }

    def identity(self) -> str:
        """Return a digest of content and way of reading; the file's name makes no difference."""
        said = self.model_dump(mode="json", exclude={"file", "source", "family", "tried"})
        return hashlib.sha256(as_json(settled("Origin", said)).encode()).hexdigest()


def maker_of(registry: ModelRegistryManager, info: RegisteredModelInfo) -> RegisteredModelInfo:
    """Return the version that was trained or imported: for a variant, the base it was made from."""
    if info.source_version is None:
        return info
    return registry.get_version(ModelName.parse(info.name).base, info.source_version)


def is_imported(maker: RegisteredModelInfo) -> bool:
    """Return whether another trainer made a version of the base."""
    return _FILE_TAG in maker.tags


def describe_origin(registry: ModelRegistryManager, info: RegisteredModelInfo) -> str:
    """Describe what a version, or the base of a variant, was imported from; "" if trained."""
    maker = maker_of(registry, info)
    if not is_imported(maker):
        return ""
    licence = maker.tags.get(_LICENCE_TAG) or "not stated"
    return f"{maker.tags[_FILE_TAG]} (licence: {licence})"
