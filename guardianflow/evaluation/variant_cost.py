"""What a variant costs and gains against the version that it was made from, as its run kept it."""

from pathlib import Path

from mlflow import MlflowClient
from pydantic import Field

from guardianflow.evaluation.speed import SpeedReport, machine, read_reports
from guardianflow.machine.disk import scratch
from guardianflow.mlflow_store.client import border
from guardianflow.scenario import Precision
from guardianflow.stored import Stored, read_stored
from guardianflow.vision.metrics.comparison import PairedComparison

COST_FILE = "cost.json"


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


def read_cost(client: MlflowClient, run_id: str) -> VariantCost | None:
    """What a quantization run kept, with the speed on such a machine as this; None: nothing."""
    with border(f"run {run_id}"):
        if COST_FILE not in {file.path for file in client.list_artifacts(run_id)}:
            return None
        with scratch() as folder:
            path = Path(client.download_artifacts(run_id, COST_FILE, str(folder)))
            text = path.read_text(encoding="utf-8")
    cost = read_stored(VariantCost, text, f"{COST_FILE} of MLflow run {run_id}")
    reports = read_reports(client, run_id)
    return cost.model_copy(
        update={"speed": reports.get(machine()), "measured_on": tuple(sorted(reports))}
    )
