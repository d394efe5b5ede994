"""What a quantization left in MLflow."""

from dataclasses import dataclass

from guardianflow.evaluation.gate import GateReport
from guardianflow.evaluation.speed import SpeedReport
from guardianflow.evaluation.variant_cost import VariantCost
from guardianflow.vision.metrics.evaluation import Evaluation


@dataclass(frozen=True)
class QuantizedModel:
    """What a quantization left in MLflow.

    Attributes:
        run_id: The MLflow run.
        artifact_path: Name of the run's LoggedModel.
        fp32: The source on the held-out test split.
        variant: The variant on the same images.
        cost: What the variant costs and gains; its speed is None where only another kind of
            machine has measured it and it is not registered yet.
        outcome: What the gate says of the cost.
        source_version: Version of the base that it was made from.
        version: The registered version of the variant, once it is registered.
        reused: Whether an earlier quantization was found instead.
    """

    run_id: str
    artifact_path: str
    fp32: Evaluation
    variant: Evaluation
    cost: VariantCost
    outcome: GateReport
    source_version: int
    version: int | None = None
    reused: bool = False

    @property
    def speed(self) -> SpeedReport:
        """The speed on this kind of machine.

        Raises:
            ValueError: It was never measured here; registering does that.
        """
        if self.cost.speed is None:
            raise ValueError(f"run {self.run_id} holds no speed of such a machine")
        return self.cost.speed
