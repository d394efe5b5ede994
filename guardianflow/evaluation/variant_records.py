"""What the run of a variant keeps about its cost and, for each kind of machine, its speed.

    cost.json                          accuracy and size
    latency/AVX512-VNNI--<cpu>.json    speed; one file for each kind of machine

Read together, they are the cost on a machine such as this one.
"""

from collections.abc import Mapping

from mlflow import MlflowClient

from guardianflow.evaluation.speed import SpeedReport, VariantCost, machine
from guardianflow.mlflow_store.client import border
from guardianflow.mlflow_store.runs import find_run_text, read_run_text
from guardianflow.stored import read_stored

COST_FILE = "cost.json"
SPEED_FOLDER = "latency"


def read_cost(client: MlflowClient, run_id: str) -> VariantCost | None:
    """Read the cost that a run kept, with the speed on this kind of machine; None if none."""
    text = find_run_text(client, run_id, COST_FILE)
    if text is None:
        return None
    cost = read_stored(VariantCost, text, f"{COST_FILE} of MLflow run {run_id}")
    reports = read_speeds(client, run_id)
    return cost.model_copy(
        update={"speed": reports.get(machine()), "measured_on": tuple(sorted(reports))}
    )


def keep_speed(client: MlflowClient, run_id: str, report: SpeedReport) -> None:
    """Write a report to the version's run; it replaces that of the same kind of machine."""
    text, file = report.model_dump_json(indent=1), f"{SPEED_FOLDER}/{report.machine}.json"
    with border(f"run {run_id}"):
        client.log_text(run_id, text, file)


def read_speeds(client: MlflowClient, run_id: str) -> Mapping[str, SpeedReport]:
    """Read the reports of a version's run, by kind of machine."""
    found: dict[str, SpeedReport] = {}
    with border(f"run {run_id}"):
        for file in client.list_artifacts(run_id, SPEED_FOLDER):
            text = read_run_text(client, run_id, file.path)
            report = read_stored(SpeedReport, text, f"{file.path} of MLflow run {run_id}")
            found[report.machine] = report
    return found
