"""What a variant costs and gains against the version that it was made from."""

from pydantic import Field

from guardianflow.evaluation.speed import SpeedReport
from guardianflow.scenario import Precision
from guardianflow.stored import Stored
from guardianflow.vision.metrics.comparison import PairedComparison


class VariantCost(Stored):
    """A variant against its source: accuracy, size, and speed on this kind of machine."""

    precision: Precision = Field(description="Number format of the variant's weights.")
    difference: PairedComparison = Field(description="On the evaluation set, paired.")
    size_kib: float = Field(description="Of the variant's IR.")
    source_size_kib: float = Field(description="Of the source's IR.")
    speed: SpeedReport | None = Field(
        default=None, description="Measured on such a machine as this; None: not yet."
    )
    measured_on: tuple[str, ...] = Field(default=(), description="Where speed was measured.")
