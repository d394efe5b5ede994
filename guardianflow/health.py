"""Health: measures a champion on recent labelled frames and keeps the report.

    window of frames -> measure -> HealthReport in MLflow -> event -> reaction.py
                                                              (reads the report again)

The frozen evaluation set cannot change, so it can never fail; a window can.
"""

import logging
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from guardianflow.data.dataset import Dataset, Sample, open_dataset
from guardianflow.errors import DatasetInvalid, LedgerDamaged, NoCandidate, PermissionDenied
from guardianflow.measuring.evaluation import Evaluation
from guardianflow.measuring.measurement import measure_version, recorded_scenario
from guardianflow.measuring.pictures import contact_sheet
from guardianflow.names import ModelName
from guardianflow.records import (
    HEALTH,
    Draft,
    close_record,
    find_record,
    open_record,
    read_record,
)
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from guardianflow.release.ledger import Ledger
from guardianflow.scenario import HealthSettings, Scenario

WINDOW_SPLIT = "test"
NAME_TAG = "guardianflow.name"
VERSION_TAG = "guardianflow.version"
VERDICT_TAG = "guardianflow.verdict"
"""They say on the MLflow run what its report is about, so that most events need no download."""
_PICTURE_FRAMES = 9
log = logging.getLogger(__name__)


class Verdict(StrEnum):
    """What a window says about a champion."""

    HEALTHY = "HEALTHY"
    FAILING = "FAILING"
    INCONCLUSIVE = "INCONCLUSIVE"


class HealthReport(BaseModel):
    """How a champion did on one window of labelled frames."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_name: str = Field(description="Public name of the model.")
    version: int = Field(description="The champion that was measured.")
    window: str = Field(description="Where the frames lay.")
    window_fingerprint: str = Field(description="sha256 over the frames and their labels.")
    evaluation: Evaluation = Field(description="Figures on the window.")
    settings: HealthSettings = Field(description="The thresholds that were applied.")
    verdict: Verdict = Field(description="HEALTHY, FAILING or INCONCLUSIVE.")
    reason: str = Field(description="One sentence for people.")
    report_id: str = Field(description="The MLflow run that holds this report.")
    time: datetime = Field(description="When it was measured, UTC.")
    operation: int | None = Field(
        default=None,
        description="Number of the newest operation of the release when measuring began: it tells "
        "without any clock what came first. None where the account may not read the ledger.",
    )


def check_health(
    registry: ModelRegistryManager,
    model_name: str,
    window: Path,
    *,
    token: str,
    settings: HealthSettings | None = None,
) -> HealthReport:
    """Measure the champion on a window of labelled frames and keep the report in MLflow.

    Args:
        registry: The registry that knows the champion.
        model_name: Base or variant.
        window: A YOLO data set whose split `test` holds the recent frames.
        token: The same token gives the same report; it is measured once.
        settings: Thresholds; None takes those of the scenario that the champion was made from.

    Raises:
        NoCandidate: The model has no champion that could be measured.
        DatasetInvalid: The window cannot be used.
    """
    client = registry.client
    if done := find_record(client, HEALTH, token):
        return read_record(client, done, HealthReport)
    champion = registry.get_champion(model_name)
    if champion is None:
        raise NoCandidate(
            f"{model_name} has no @champion whose health could be checked.",
            remedy=f"guardianflow promote {model_name}",
            name=model_name,
        )
    operation = _newest_operation(registry, champion)
    scenario = recorded_scenario(registry, champion)
    dataset, samples = _open_window(window, scenario)
    thresholds = settings or (scenario.health if scenario else HealthSettings())
    measured = measure_version(registry, champion.name, champion.version, samples, dataset.classes)
    verdict, reason = assess(measured.evaluation, thresholds)
    run_id = open_record(client, HEALTH, token, f"health {champion.name} {champion.version}")
    report = HealthReport(
        model_name=champion.name,
        version=champion.version,
        window=str(window),
        window_fingerprint=dataset.fingerprint,
        evaluation=measured.evaluation,
        settings=thresholds,
        verdict=verdict,
        reason=reason,
        report_id=run_id,
        time=datetime.now(UTC),
        operation=operation,
    )
    with tempfile.TemporaryDirectory() as folder:
        contact_sheet(
            samples[:_PICTURE_FRAMES],
            measured.seen.shown()[:_PICTURE_FRAMES],
            dataset.classes,
            Path(folder) / "window.png",
            title=f"{champion.name} version {champion.version} on {Path(window).name}: {verdict}",
        )
        close_record(client, run_id, report, _draft(Path(folder), report, champion))
    return report


def _newest_operation(registry: ModelRegistryManager, champion: RegisteredModelInfo) -> int | None:
    base = ModelName.parse(champion.name).base
    try:
        return Ledger(registry.client, base).read().seq
    except (LedgerDamaged, PermissionDenied) as error:
        # Measuring goes on; which came first is then told by the clocks.
        log.warning("%s", error)
        return None


def _open_window(window: Path, scenario: Scenario | None) -> tuple[Dataset, Sequence[Sample]]:
    dataset = open_dataset(window, scenario.classes if scenario else None)
    samples = dataset.splits.get(WINDOW_SPLIT)
    if not samples:
        raise DatasetInvalid(
            f"The window {window} has no split {WINDOW_SPLIT!r} with frames.",
            remedy=f"Put the recent frames under images/{WINDOW_SPLIT} and name it in data.yaml.",
            file=str(window),
        )
    return dataset, samples


def _draft(folder: Path, report: HealthReport, champion: RegisteredModelInfo) -> Draft:
    figures = report.evaluation
    return Draft(
        folder,
        tags={
            NAME_TAG: champion.name,
            VERSION_TAG: str(champion.version),
            VERDICT_TAG: report.verdict.value,
        },
        metrics={
            "map50": figures.map50,
            "images": figures.images,
            "objects": figures.objects,
            "false_alarms_per_image": figures.false_alarms_per_image,
        },
    )


def assess(evaluation: Evaluation, settings: HealthSettings) -> tuple[Verdict, str]:
    """Judge the figures of a window; too little evidence is never a verdict."""
    if evaluation.images < settings.min_images or evaluation.objects < settings.min_objects:
        return Verdict.INCONCLUSIVE, (
            f"{evaluation.images} frames with {evaluation.objects} objects are fewer than "
            f"{settings.min_images} and {settings.min_objects}"
        )
    failing = evaluation.map50 < settings.min_map50
    return Verdict.FAILING if failing else Verdict.HEALTHY, (
        f"mAP50 {evaluation.map50:.3f} on {evaluation.images} frames is "
        f"{'below' if failing else 'at or above'} {settings.min_map50:.3f}"
    )


def read_report(registry: ModelRegistryManager, report: str) -> HealthReport:
    """Read a stored report by its MLflow run id.

    Raises:
        ArtifactMissing: There is no such complete report.
    """
    return read_record(registry.client, report, HealthReport)
