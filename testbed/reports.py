"""Health reports as real records in MLflow, which say what a test wants; nothing is measured."""

import tempfile
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlflow import MlflowClient

from guardianflow.health.report import Fallback, HealthReport
from guardianflow.health.verdict import Verdict, WindowFigure
from guardianflow.mlflow_store.records import HEALTH, Draft, close_record, open_record
from guardianflow.scenario import HealthPolicy
from guardianflow.vision.metrics.evaluation import Evaluation

_FIGURES = Evaluation(
    map50=0.2,
    map50_95=0.1,
    per_class={},
    false_alarms_per_image=0.0,
    images=32,
    objects=64,
    score_threshold=0.5,
)


def keep_report(
    client: MlflowClient,
    name: str,
    version: int,
    verdict: Verdict = Verdict.FAILING,
    *,
    age: timedelta = timedelta(0),
    operation: int | None = None,
    fallback: Fallback | None = None,
) -> str:
    """Keep a report about a version, and return its id.

    Args:
        client: The MLflow server.
        name: Base or variant.
        version: The version that it is about.
        verdict: What it says.
        age: How long ago it was measured, by the clock of whoever measured.
        operation: The newest operation that was known then.
        fallback: How the way back did on the same frames.
    """
    run_id = open_record(client, HEALTH, uuid.uuid4().hex, "a test")
    report = HealthReport(
        model_name=name,
        version=version,
        window="/frames",
        window_fingerprint="0" * 64,
        evaluation=_FIGURES,
        figures={"map50": WindowFigure(value=0.2)},
        policy=HealthPolicy(),
        window_verdict=verdict,
        in_a_row=1,
        fallback=fallback,
        verdict=verdict,
        reason="mAP50 0.200 on 32 frames is below 0.400",
        report_id=run_id,
        time=datetime.now(UTC) - age,
        operation=operation,
    )
    with tempfile.TemporaryDirectory() as folder:
        close_record(client, run_id, report, Draft(Path(folder), report.tags()))
    return run_id
