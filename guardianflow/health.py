"""Health: measures a champion on recent labelled frames, keeps the report, acts on it.

    window of frames -> measure -> HealthReport in MLflow -> event -> roll_back_failing
                                                              (reads the report again)

The frozen evaluation set cannot change, so it can never fail; a window can.
"""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from guardianflow.dataset import Dataset, Sample, open_dataset
from guardianflow.errors import ChampionChanged, DatasetInvalid, NoCandidate, Refused
from guardianflow.evaluation import Evaluation
from guardianflow.measurement import measure_version, recorded_scenario
from guardianflow.names import ModelName
from guardianflow.pictures import contact_sheet
from guardianflow.records import (
    HEALTH,
    Draft,
    close_record,
    find_record,
    open_record,
    read_record,
    read_tags,
)
from guardianflow.registry import ModelRegistryManager, Operation, RegisteredModelInfo
from guardianflow.release.ledger import Ledger
from guardianflow.release.outcome import champion_of, operation_of
from guardianflow.release.state import Record
from guardianflow.scenario import HealthSettings, Scenario

WINDOW_SPLIT = "test"
MAX_AGE = timedelta(hours=1)
"""A failing report older than this rolls nothing back."""
CLOCK_SKEW = timedelta(minutes=2)
"""How far the clock of whoever measured may be ahead of ours."""
_PICTURE_FRAMES = 9
_NAME_TAG = "guardianflow.name"
_VERSION_TAG = "guardianflow.version"
_VERDICT_TAG = "guardianflow.verdict"


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


@dataclass(frozen=True)
class Reaction:
    """What came of a failing report: an operation, or the reason why nothing moved."""

    operation: Operation | None
    message: str


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
    )
    with tempfile.TemporaryDirectory() as folder:
        contact_sheet(
            samples[:_PICTURE_FRAMES],
            measured.detections[:_PICTURE_FRAMES],
            dataset.classes,
            Path(folder) / "window.png",
            title=f"{champion.name} version {champion.version} on {Path(window).name}: {verdict}",
        )
        close_record(client, run_id, report, _draft(Path(folder), report, champion))
    return report


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
            _NAME_TAG: champion.name,
            _VERSION_TAG: str(champion.version),
            _VERDICT_TAG: report.verdict.value,
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


def roll_back_failing(
    registry: ModelRegistryManager,
    model_name: str,
    failing_version: int,
    report: str,
    *,
    max_age: timedelta = MAX_AGE,
) -> Reaction:
    """Roll back a champion whose stored report says FAILING; what the caller says is not enough.

    A repeated, late or invented request changes nothing and says so. Most requests of a burst are
    of that kind, so the cheap questions come first: what the report is about, then who is champion.

    Args:
        registry: The registry that knows the champion.
        model_name: Base or variant.
        failing_version: The champion that failed; another champion is left alone.
        report: MLflow run that holds the report.
        max_age: A report that was made longer ago than this speaks about a past that is over.

    Raises:
        ArtifactMissing: The report does not exist.
        NoRollbackTarget: There is no known-good version to go back to.
        RollbackHeld: The version was itself restored by a rollback: a person has to look.
        Refused: The report is about something else, or of the future; or a rule says no.
    """
    name = ModelName.parse(model_name).public
    tags = read_tags(registry.client, report, HealthReport)
    told = f"{tags.get(_NAME_TAG)} version {tags.get(_VERSION_TAG)}"
    _check_subject(told, f"{name} version {failing_version}", report)
    verdict = tags.get(_VERDICT_TAG)
    if verdict != Verdict.FAILING:
        return Reaction(None, f"Report {report} says {verdict}: nothing to roll back.")
    ledger = Ledger(registry.client, ModelName.parse(name).base)
    head = ledger.read()
    # One incident is one report: however often its event fires, it rolls back once.
    token = f"incident-{report}"
    done = ledger.find_token(head, token)
    # What is only decided has still to be finished, which the rollback does.
    if head.interrupted is None:
        if done is not None:
            operation = operation_of(done, "was done before")
            return Reaction(operation, operation.message)
        champion = champion_of(head.state, name)
        if champion != failing_version:
            return _not_champion(name, champion, failing_version)
    found = read_report(registry, report)
    # The document is what was judged; the tags only say where to look.
    told = f"{found.model_name} version {found.version}"
    _check_subject(told, f"{name} version {failing_version}", report)
    if found.verdict is not Verdict.FAILING:
        return Reaction(None, f"Report {report} says {found.verdict}: nothing to roll back.")
    installed = _installed(ledger.past(head), name, failing_version)
    if done is None and (too_late := _too_late(found, max_age, installed)):
        return Reaction(None, f"{too_late}: nothing to roll back.")
    try:
        operation = registry.rollback(
            name,
            expected_champion=failing_version,
            actor="automation",
            reason=f"health: {found.reason} (report {report})",
            token=token,
            automatic=True,
        )
    except ChampionChanged as error:
        return _not_champion(name, error.actual, failing_version)
    return Reaction(operation, operation.message)


def _check_subject(told: str, asked: str, report: str) -> None:
    """Refuse a request about something else than its report."""
    if told != asked:
        raise Refused(
            f"Report {report} is about {told}, not about {asked}.",
            remedy="Nothing was changed; find out who sent the event.",
            report=report,
        )


def _not_champion(name: str, champion: int | None, failing: int) -> Reaction:
    return Reaction(
        None,
        f"@champion of {name} is version {champion or 'none'}, no longer the failing {failing}: "
        "nothing to roll back.",
    )


def _installed(past: Iterable[Record], name: str, version: int) -> datetime | None:
    """When the version last became champion; None if the ledger knows of no such moment."""
    for record in past:
        if record.moved().get(name, (None, None))[1] == version:
            return datetime.fromisoformat(record.time)
    return None


def _too_late(found: HealthReport, max_age: timedelta, installed: datetime | None) -> str:
    """Why a report says nothing about production as it is now; '' if it does.

    Raises:
        Refused: It is of the future: the clock of whoever measured cannot be trusted.
    """
    now = datetime.now(UTC)
    made = f"Report {found.report_id} of {_moment(found.time)}"
    if found.time > now + CLOCK_SKEW:
        raise Refused(
            f"{made} is of the future: here it is {_moment(now)}.",
            remedy="Nothing was changed; set the clock of the machine that measured, then measure "
            "again.",
            report=found.report_id,
        )
    if installed is not None and found.time < installed:
        return (
            f"{made} is older than the decision of {_moment(installed)} that made version "
            f"{found.version} champion again"
        )
    if now - found.time > max_age:
        return f"{made} is older than {max_age}"
    return ""


def _moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
