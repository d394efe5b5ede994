"""What a quantization left in MLflow."""

from dataclasses import dataclass

from guardianflow.evaluation.gate import GateReport
from guardianflow.evaluation.speed import SpeedReport
from guardianflow.evaluation.variant_cost import VariantCost
from guardianflow.lifecycle.making import Made
from guardianflow.vision.metrics.evaluation import Evaluation


@dataclass(frozen=True)
class QuantizedModel(Made):
    """What a quantization left in MLflow.

    Attributes:
        fp32: The source on the held-out test split.
        variant: The variant on the same images.
        cost: What the variant costs and gains; its speed is None where only another kind of
            machine has measured it and it is not registered yet.
        outcome: The gate's judgement of the cost.
        source_version: The version of the base that it was made from.
    """

    fp32: Evaluation
    variant: Evaluation
    cost: VariantCost
    outcome: GateReport
    source_version: int

    @property
    def speed(self) -> SpeedReport:
        """The speed on this kind of machine.

        Raises:
            ValueError: It was never measured here; `register` measures it.
        """
        if self.cost.speed is None:
            raise ValueError(f"run {self.run_id} holds no speed of such a machine")
        return self.cost.speed
