"""The figures of each epoch of a training, which its checkpoints keep."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from guardianflow.vision.metrics.evaluation import Evaluation


@dataclass(frozen=True)
class EpochFigures:
    """The figures of one epoch.

    Attributes:
        epoch: Number of the epoch, from 1.
        loss: Mean of the total loss over the steps.
        box_loss: Its GIoU part, unweighted.
        label_loss: Its classification part.
        learning_rate: Rate at the end of the epoch.
        val: Evaluation of the averaged weights on val; None if there was none.
        wait_share: Share of the epoch's time that was spent waiting for images.
        ended_ms: End of the epoch in milliseconds since 1970.
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
        """Return the figures of the train split as MLflow metrics."""
        return {
            "train.loss": self.loss,
            "train.box_loss": self.box_loss,
            "train.label_loss": self.label_loss,
            "train.learning_rate": self.learning_rate,
            "train.wait_share": self.wait_share,
        }

    def describe(self) -> str:
        """Return the figures in a few words."""
        text = f"loss {self.loss:.2f}"
        return f"{text}, val mAP50 {self.val.map50:.3f}" if self.val else text

    def to_plain(self) -> dict[str, object]:
        """Return the figures as plain values, for a checkpoint."""
        return {**vars(self), "val": self.val.model_dump_json() if self.val else None}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "EpochFigures":
        """Return the figures from the values of `to_plain`."""
        kept = dict(plain)
        val = kept.pop("val")
        return cls(val=Evaluation.model_validate_json(val) if val else None, **kept)
