"""Decides what follows from a failing health report: a rollback, or a reason why not.

    report -> about this champion? -> FAILING? -> newer than what made it champion?
           -> is the way back any better on the same frames? -> rollback

Only the stored report counts, not what the caller says about it, and only if it is about production
as it is now.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from guardianflow.errors import ChampionChanged, Refused, SceneChanged
from guardianflow.health.report import (
    ANSWER_TAG,
    NAME_TAG,
    VERDICT_TAG,
    VERSION_TAG,
    HealthReport,
    find_reports,
    number_in,
    report_time,
)
from guardianflow.health.verdict import Verdict
from guardianflow.mlflow_store.records import read_document, read_tags
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager, Operation
from guardianflow.registry.release_state import OperationRecord, champion_moves, find_installation
from guardianflow.registry.rotation.outcome import champion_of, operation_of

MAX_AGE = timedelta(hours=1)
"""A failing report older than this rolls nothing back."""
CLOCK_SKEW = timedelta(minutes=2)
"""How far the clock of the measuring machine may differ from ours."""
GRACE = timedelta(seconds=45)
"""Grace period before a pass of `reconcile` acts instead of the automation."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reaction:
    """What came of a failing report: an operation, or the reason why nothing moved."""

    operation: Operation | None
    message: str
    report: HealthReport | None = None
    """None where its tags and the ledger said enough."""


def roll_back_failing(
    registry: ModelRegistryManager,
    name: ModelName,
    failing_version: int,
    report_id: str,
    *,
    max_age: timedelta = MAX_AGE,
) -> Reaction:
    """Roll back a champion whose stored report says FAILING.

    A repeated, late or invented request changes nothing and says so. Most requests of a burst are
    of that kind, so the cheap checks come first: the report's tags, then the champion.

    Args:
        registry: The registry that knows the champion.
        name: Base or variant.
        failing_version: The champion that failed; another champion is left alone.
        report_id: MLflow run that holds the report.
        max_age: A report older than this no longer says anything about production.

    Raises:
        ArtifactMissing: The report does not exist.
        NoRollbackTarget: There is no known-good version to go back to.
        RollbackHeld: The version was itself restored by a rollback: a person has to look.
        SceneChanged: The way back was no better on the same frames.
        Refused: The report is about something else, or of the future; or a rule says no.
    """
    asked = f"{name} version {failing_version}"
    tags = read_tags(registry.client, report_id, HealthReport)
    _check_subject(f"{tags.get(NAME_TAG)} version {tags.get(VERSION_TAG)}", asked, report_id)
    if (verdict := tags.get(VERDICT_TAG)) != Verdict.FAILING:
        return Reaction(None, f"Report {report_id} says {verdict}: nothing to roll back.")
    ledger = registry.ledger(name)
    head = ledger.read()
    # One incident is one report: however often its event fires, it rolls back once.
    token = f"incident-{report_id}"
    done = ledger.find_token(head, token)
    # An operation that was only decided still has to be finished: the rollback below does that.
    if head.interrupted is None:
        if done is not None:
            operation = operation_of(done, "was done before")
            return Reaction(operation, operation.message)
        champion = champion_of(head.state, name.public)
        if champion != failing_version:
            return _not_champion(name, champion, failing_version)
    report = read_document(registry.client, report_id, HealthReport)
    # The document is what was judged; the tags only say where to look.
    _check_subject(report.subject, asked, report_id)
    if report.verdict is not Verdict.FAILING:
        return Reaction(None, f"Report {report_id} says {report.verdict}: nothing to roll back.")
    if done is None:
        installed = find_installation(ledger.past(head), name.public, failing_version)
        if too_late := _too_late(report, max_age, installed):
            return Reaction(None, f"{too_late}: nothing to roll back.")
        _refuse_worse(registry, report)
    try:
        operation = registry.rollback(
            name,
            expected_champion=failing_version,
            actor="automation",
            reason=f"health: {report.reason} (report {report_id})",
            token=token,
            automatic=True,
        )
    except ChampionChanged as error:
        return _not_champion(name, error.actual, failing_version)
    return Reaction(operation, operation.message, report)


def _refuse_worse(registry: ModelRegistryManager, report: HealthReport) -> None:
    """Refuse to go back to a version that was no better on the frames where the champion failed."""
    fallback = report.fallback
    if fallback is None or fallback.better:
        return
    plan = registry.plan_rollback(report.model_name, write=False)
    moved = champion_moves(plan.moves).get(report.model_name)
    # If the way back is another version by now, nothing is known against it.
    if moved is not None and moved[1] == fallback.version:
        raise SceneChanged(report.model_name, report.version, report.reason, fallback.message)


def _check_subject(told: str, asked: str, report_id: str) -> None:
    """Refuse a request that is not about the subject of its report."""
    if told != asked:
        raise Refused(
            f"Report {report_id} is about {told}, not about {asked}.",
            remedy="Nothing was changed; find out who sent the event.",
            report=report_id,
        )


def _not_champion(name: ModelName, champion: int | None, failing: int) -> Reaction:
    return Reaction(
        None,
        f"@champion of {name} is version {champion or 'none'}, no longer the failing {failing}: "
        "nothing to roll back.",
    )


def _too_late(report: HealthReport, max_age: timedelta, installed: OperationRecord | None) -> str:
    """Why a report is too old to count; '' if it is not. One of the future is refused."""
    now = datetime.now(UTC)
    made = f"Report {report.report_id} of {_moment(report.time)}"
    if report.time > now + CLOCK_SKEW:
        raise Refused(
            f"{made} is of the future: here it is {_moment(now)}.",
            remedy="Nothing was changed; set the clock of the machine that measured, then measure "
            "again.",
            report=report.report_id,
        )
    if installed is not None and (older := _older(report, installed)):
        return f"{made} is older than {older}"
    if now - report.time > max_age:
        return f"{made} is older than {max_age}"
    return ""


def _older(report: HealthReport, installed: OperationRecord) -> str:
    """The promotion that is newer than the report, in words; '' if none is.

    The ledger's numbers decide. A report without a number is compared by its time, without
    tolerance: a report about a version that was fixed and promoted again must never count.
    """
    decided = datetime.fromisoformat(installed.time)
    before = report.time < decided if report.operation is None else report.operation < installed.seq
    if not before:
        return ""
    said = (
        f"the decision of {_moment(decided)} (operation {installed.seq}) that made version "
        f"{report.version} champion again"
    )
    if report.operation is None and decided - report.time < CLOCK_SKEW:
        said += (
            f", by no more than {CLOCK_SKEW}: the clocks of the two machines may differ; set that "
            "of the machine that measured, then measure again"
        )
        log.warning("report %s of %s is older than %s", report.report_id, report.model_name, said)
    return said


def _moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True)
class UnansweredReport:
    """A failing report about the current champion that nothing followed from yet."""

    model_name: str
    version: int
    report_id: str


def find_unanswered(
    registry: ModelRegistryManager,
    champions: Mapping[str, int],
    *,
    grace: timedelta = GRACE,
) -> list[UnansweredReport]:
    """The newest failing report of each champion that nothing followed from: its event was lost.

    A lost event does not lose the rollback: each pass finds it again in the stored reports, and
    `roll_back_failing` checks everything again, so that reacting twice changes nothing. Reports
    younger than `grace` are left to their event.
    """
    now = datetime.now(UTC)
    found: dict[str, UnansweredReport] = {}
    tags = {VERDICT_TAG: Verdict.FAILING.value}
    for run in find_reports(registry.client, tags, since=now - MAX_AGE):
        name, version = run.data.tags.get(NAME_TAG, ""), number_in(run, VERSION_TAG)
        waits = ANSWER_TAG not in run.data.tags and report_time(run) <= now - grace
        if waits and version and champions.get(name) == version:
            found.setdefault(name, UnansweredReport(name, version, run.info.run_id))
    return list(found.values())
