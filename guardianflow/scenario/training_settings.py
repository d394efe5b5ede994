"""The settings of training, score thresholds and quantization."""

from enum import StrEnum
from typing import Literal

from pydantic import Field, model_validator

from guardianflow.scenario.values import Fraction, ScenarioName, Settings


class StartingPoint(StrEnum):
    """The initial weights of a training."""

    SCRATCH = "scratch"
    """Random weights."""
    CHAMPION = "champion"
    """The weights of the current champion; classes are matched by name."""
    COCO = "coco"
    """Weights trained on COCO, of a network of their own (`guardianflow weights fetch`)."""


class TrainingSettings(Settings):
    """How the detector is trained."""

    trainer: ScenarioName | None = Field(
        default=None,
        description="A trainer of another project, by its name in trainers.yaml of the machine "
        "that trains; empty: ours. It is told epochs, image_size, batch_size, seed, threads and "
        "device; the other settings are ours alone.",
    )
    start: StartingPoint = Field(
        default=StartingPoint.SCRATCH,
        description="scratch, or the weights of the champion, or weights trained on coco.",
    )

    image_size: int = Field(default=256, ge=64, le=1280, multiple_of=32, description="Input side.")
    width: int = Field(default=8, ge=4, le=64, multiple_of=4, description="Channels of the stem.")
    epochs: int = Field(default=14, ge=1, le=10_000, description="Passes over the train split.")
    batch_size: int = Field(default=4, ge=1, le=1024, description="Images in one step.")
    matrix_rate: float = Field(
        default=0.03, gt=0, le=1, description="Peak learning rate of the convolutions (Muon)."
    )
    learning_rate: float = Field(
        default=8e-3, gt=0, le=1, description="Peak learning rate of everything else (AdamW)."
    )
    pretrained_rate: float = Field(
        default=5e-4, gt=0, le=1, description="Peak learning rate of layers that start trained."
    )
    weight_decay: float = Field(
        default=5e-4, ge=0, le=1, description="Weight decay of the convolutions."
    )
    ema_decay: float = Field(default=0.96, ge=0, lt=1, description="Decay of averaged weights.")
    warmup_fraction: float = Field(default=0.03, ge=0, le=0.5, description="Share of warm-up.")
    mosaics: Fraction = Field(
        default=0.6, description="Share of the train images that are mosaics of four."
    )
    mosaic_epochs: Fraction = Field(
        default=0.85, description="Share of the epochs, from the first, with mosaics."
    )
    seed: int = Field(default=0, ge=0, description="Seed of weights, order and augmentation.")
    threads: int = Field(default=1, ge=0, le=256, description="CPU threads; 0 = all of them.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where to train.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Format of the forward pass; auto: 16 bits if the device supports them.",
    )
    patience: int = Field(
        default=0,
        ge=0,
        description="Evaluations on val without a better score before training stops; 0 = never.",
    )

    @model_validator(mode="after")
    def _a_trainer_has_its_own_start(self) -> "TrainingSettings":
        if self.trainer and self.start is not StartingPoint.SCRATCH:
            raise ValueError(
                f"training.start = {self.start} has no meaning with training.trainer = "
                f"{self.trainer}, whose entry in trainers.yaml says where it starts"
            )
        return self


class EvaluationSettings(Settings):
    """The cost of a missed object relative to a false alarm."""

    beta: float = Field(
        default=1.5,
        ge=0.25,
        le=4,
        description="Boxes are shown from the score with the highest F-beta on val. Above 1, a "
        "missed object costs more than a false alarm.",
    )


class Precision(StrEnum):
    """Number formats of the weights of a variant."""

    INT8 = "int8"
    FP16 = "fp16"


class QuantizationSettings(Settings):
    """How the FP32 IR becomes variants for the edge box."""

    backend: Literal["openvino"] = Field(default="openvino", description="Runtime of the edge box.")
    variants: tuple[Precision, ...] = Field(
        default=(Precision.INT8,),
        min_length=1,
        description="Variants to make of the FP32 model: number formats of their weights.",
    )
    preset: Literal["auto", "mixed", "performance"] = Field(
        default="auto",
        description="NNCF's preset for int8: mixed keeps activations asymmetric; auto tries both "
        "and keeps the better one on val.",
    )
    max_drop: Fraction = Field(
        default=0.02,
        description="If every preset loses more mAP50-95 on val, the layers that cost most stay "
        "FP32 (only with auto).",
    )
    calibration_images: int = Field(
        default=64, ge=1, le=10_000, description="Train images that set the ranges."
    )

    def flavour(self, precision: Precision = Precision.INT8) -> str:
        """Return the variant's suffix, e.g. `openvino_int8`."""
        return f"{self.backend}_{precision}"
