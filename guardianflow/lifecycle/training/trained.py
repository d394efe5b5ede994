"""What a training left in MLflow, whoever trained."""

from dataclasses import dataclass, field

from guardianflow.lifecycle.making import Made
from guardianflow.vision.metrics.evaluation import Evaluation


@dataclass(frozen=True)
class TrainedModel(Made):
    """What a training left in MLflow, with the figures of its IR on the held-out test split.

    Attributes:
        resumed_at: The epoch after which it resumed, where an earlier process was killed; or 0.
    """

    evaluation: Evaluation
    resumed_at: int = field(default=0, kw_only=True)
