"""Reaction: what a failing health report does to the champion that it is about.

    report -> about this champion? -> FAILING? -> newer than what made it champion?
           -> is the way back any better on the same frames? -> rollback

Nobody's word is taken: the stored report is read again, and asked whether it still speaks about
production as it is now.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from guardianflow.errors import ChampionChanged, Refused, SceneChanged
from guardianflow.health.report import NAME_TAG, VERDICT_TAG, VERSION_TAG, HealthReport, read_report
from guardianflow.health.verdict import Verdict
from guardianflow.mlflow_store.records import read_tags
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager, Operation
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.release_state import OperationRecord, champion_moves, find_installation
from guardianflow.registry.rotation.outcome import champion_of, operation_of

MAX_AGE = timedelta(hours=1)
"""A failing report older than this rolls nothing back."""
CLOCK_SKEW = timedelta(minutes=2)
"""How far the clock of whoever measured may differ from ours."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reaction:
    """What came of a failing report: an operation, or the reason why nothing moved."""

    operation: Operation | None
    message: str


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
        SceneChanged: The way back was no better on the same frames.
        Refused: The report is about something else, or of the future; or a rule says no.
    """
    name = ModelName.parse(model_name).public
    tags = read_tags(registry.client, report, HealthReport)
    told = f"{tags.get(NAME_TAG)} version {tags.get(VERSION_TAG)}"
    _check_subject(told, f"{name} version {failing_version}", report)
    verdict = tags.get(VERDICT_TAG)
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
    installed = find_installation(ledger.past(head), name, failing_version)
    if done is None and (too_late := _too_late(found, max_age, installed)):
        return Reaction(None, f"{too_late}: nothing to roll back.")
    if done is None:
        _refuse_worse(registry, found)
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


def _refuse_worse(registry: ModelRegistryManager, found: HealthReport) -> None:
    """Refuse to go back to what did no better on the frames on which the champion failed.

    Raises:
        SceneChanged: It did no better, so not the model has changed but what it looks at.
    """
    fallback = found.fallback
    if fallback is None or fallback.better:
        return
    plan = registry.plan_rollback(found.model_name, write=False)
    moved = champion_moves(plan.moves).get(found.model_name)
    # Another way back by now was not measured: nothing speaks against it.
    if moved is not None and moved[1] == fallback.version:
        raise SceneChanged(found.model_name, found.version, found.reason, fallback.message)


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


def _too_late(found: HealthReport, max_age: timedelta, installed: OperationRecord | None) -> str:
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
    if installed is not None and (older := _older(found, installed)):
        return f"{made} is older than {older}"
    if now - found.time > max_age:
        return f"{made} is older than {max_age}"
    return ""


def _older(found: HealthReport, installed: OperationRecord) -> str:
    """The decision that came after the report was measured, in words; '' if none did.

    The ledger's numbers tell it, whatever the clocks say; a report that knows no number is judged
    by its time, without tolerance: a report about a version that a person has mended and promoted
    again must never count.
    """
    decided = datetime.fromisoformat(installed.time)
    before = found.time < decided if found.operation is None else found.operation < installed.seq
    if not before:
        return ""
    said = (
        f"the decision of {_moment(decided)} (operation {installed.seq}) that made version "
        f"{found.version} champion again"
    )
    if found.operation is None and decided - found.time < CLOCK_SKEW:
        said += (
            f", by no more than {CLOCK_SKEW}: the clocks of the two machines may differ; set that "
            "of the machine that measured, then measure again"
        )
        log.warning("report %s of %s is older than %s", found.report_id, found.model_name, said)
    return said


def _moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
