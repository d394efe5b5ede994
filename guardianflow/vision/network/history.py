"""What is told of each epoch of a training, and kept in its checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from guardianflow.vision.metrics.evaluation import Evaluation


@dataclass(frozen=True)
class EpochFigures:
    """One pass over the train split.

    Attributes:
        epoch: Counted from 1.
        loss: Mean of the total loss over the steps.
        box_loss: Its GIoU part, unweighted.
        label_loss: Its classification part.
        learning_rate: At the end of the epoch.
        val: Figures of the averaged weights on the val split, where it was looked at.
        wait_share: Share of the epoch's time in which the step waited for its images.
        ended_ms: When it ended, in milliseconds since 1970.
    """

    epoch: int
    loss: float
    box_loss: float
    label_loss: float
    learning_rate: float
    val: Evaluation | None
    wait_share: float = field(default=0.0, compare=False)
    ended_ms: int = field(default=0, compare=False)

    def metrics(self) -> dict[str, float]:
        """The figures of the train split, as names and values for MLflow."""
        return {
            "train.loss": self.loss,
            "train.box_loss": self.box_loss,
            "train.label_loss": self.label_loss,
            "train.learning_rate": self.learning_rate,
            "train.wait_share": self.wait_share,
        }

    def describe(self) -> str:
        """The figures in a few words, for people."""
        text = f"loss {self.loss:.2f}"
        return f"{text}, val mAP50 {self.val.map50:.3f}" if self.val else text

    def to_plain(self) -> dict[str, object]:
        """The figures without any class of ours, for a checkpoint."""
        return {**vars(self), "val": self.val.model_dump_json() if self.val else None}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "EpochFigures":
        """The figures that `to_plain` was taken of."""
        kept = dict(plain)
        val = kept.pop("val")
        return cls(val=Evaluation.model_validate_json(val) if val else None, **kept)
