"""Notices promotions that end, or ended, without a decision: not answered, cancelled, void, failed.

    open, its last day has begun -> event sent -> noted in the approval log
    open, its flow run is over -> event sent -> status `expired` on the version -> closed
    open, its deployment deleted -> asked again in a flow run of the new deployment -> closed
                                    refused by the new one -> as if its flow run was over

A suspended flow run that times out or is cancelled runs no hook, so the flow `reconcile` looks. The
event comes first: a process that is killed in between tells twice, never not at all.
"""

import logging
from datetime import UTC, datetime

from flows.publishing import send_event
from flows.registry_access import mirror_policy, scenario_registry
from guardianflow.errors import InputError, LedgerDamaged, StoredUnreadable
from guardianflow.events import EventName, ModelEvent
from guardianflow.monitoring.findings import Finding, FindingCode, Severity
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.flowruns import FlowRunInfo
from guardianflow.prefect_api.prefect_yaml import PROMOTION
from guardianflow.promotion import expire, was_decided
from guardianflow.promotion.question import UnansweredQuestion, open_questions
from guardianflow.registry import ModelRegistryManager

# The logger of our modules, not that of a flow run: there may be none.
log = logging.getLogger("guardianflow.reconcile")
_NEVER_RESUMED = "never resumed"
_GONE = "no longer exists"
"""What a worker says when it cancels a flow run whose deployment was deleted."""


def copy_policy() -> list[Finding]:
    """Copy the approval policy to MLflow, where an edit in the UI counts from then on.

    Returns what is wrong with the policy; the pass continues.
    """
    try:
        if mirror_policy(scenario_registry()):
            log.info("copied the approval policy to MLflow")
    except LedgerDamaged:
        # The ledger, which carries it, is gone: the pass reports that.
        return []
    except InputError as error:
        message = f"{error.message} The rules in MLflow stay in force."
        log.error("%s %s", message, error.remedy)
        return [Finding("", FindingCode.POLICY_UNUSABLE, Severity.ERROR, message, error.remedy)]
    return []


def look_at_questions(now: datetime | None = None) -> list[str]:
    """Remind people of questions that end soon and close those that are over."""
    registry = scenario_registry()
    try:
        waiting = open_questions(registry.client)
    except LedgerDamaged:
        # The ledger, which carries them, is gone: the pass reports that.
        return []
    if not waiting:
        return []
    runs = Orchestrator().find_all([question.request for question in waiting])
    now = now or datetime.now(UTC)
    said: list[str] = []
    for one in waiting:
        try:
            said.append(_look_at(registry, one, runs.get(one.request), now) or "")
        except (LedgerDamaged, StoredUnreadable) as error:
            # The pass reports that release; the other questions are still looked at.
            log.warning("the question about %s is left open: %s", one.asked.model_name, error)
    return [text for text in said if text]


def _look_at(
    registry: ModelRegistryManager,
    question: UnansweredQuestion,
    run: FlowRunInfo | None,
    now: datetime,
) -> str | None:
    if run is not None and run.orphaned and (run.waiting or _GONE in run.message):
        return _ask_again(registry, question, run)
    if run is not None and not run.final:
        return _remind(question) if run.waiting and question.asked.is_ending(now) else None
    asked = question.asked
    ended_well = run is not None and run.ok
    if ended_well or was_decided(registry, asked.model_name, question.request):
        # The process ended after the decision, before it was recorded.
        question.close(run.state if run else "decided")
        return None
    return _end(registry, question, _why(run))


def _end(registry: ModelRegistryManager, question: UnansweredQuestion, why: str) -> str:
    """Tell people that nobody decided, and close the question."""
    asked = question.asked
    message = f"Nobody decided about {asked.model_name} version {asked.version}: {why}."
    _tell(EventName.UNDECIDED, question, message)
    if not _is_asked_again(question):
        expire(registry, asked.versions, why)
    question.close(why)
    return message


def _is_asked_again(question: UnansweredQuestion) -> bool:
    """Whether another request for the same version is under way: then it is not expired."""
    asked, orchestrator = question.asked, Orchestrator()
    return any(
        one.model_name == asked.model_name and one.version in (None, asked.version)
        for one in (*orchestrator.pending(), *orchestrator.under_way())
        if one.flow_run_id != question.request
    )


def _ask_again(
    registry: ModelRegistryManager, question: UnansweredQuestion, run: FlowRunInfo
) -> str | None:
    """Ask again where the deployment was deleted and recreated: the old run never resumes.

    The question waits until the deployment is back; that it is gone is an alarm of its own. A new
    deployment that refuses the old parameters ends the question.
    """
    orchestrator, asked = Orchestrator(), question.asked
    try:
        started = orchestrator.submit(
            PROMOTION,
            {**run.parameters, "model_version": asked.version},
            idempotency_key=f"anew-{question.request}",
        )
    except InputError as error:
        if "status" not in error.data:
            log.warning("%s", error)
            return None
        why = f"its deployment was deleted, and it cannot be asked again: {error.message}"
        if not run.final:
            orchestrator.cancel(run.id, f"Its deployment was deleted. {error.message}")
        return _end(registry, question, why.rstrip("."))
    why = f"its deployment was deleted; asked again as flow run {started.name}"
    if not run.final:
        orchestrator.cancel(run.id, f"Its deployment was deleted; asked again: {started.url}")
    question.close(why)
    about = f"{asked.model_name} version {asked.version}"
    message = f"The question about {about} is asked again: {why}."
    log.warning("%s", message)
    return message


def _remind(question: UnansweredQuestion) -> str | None:
    """Tell people once that the last day of a question has begun."""
    if question.reminded:
        return None
    asked = question.asked
    message = (
        f"It is not decided yet about {asked.model_name} version {asked.version}; the question "
        f"ends at {asked.expires:%Y-%m-%d %H:%M} UTC."
    )
    _tell(EventName.EXPIRING, question, message)
    question.remind()
    return message


def _tell(event: EventName, question: UnansweredQuestion, message: str) -> None:
    asked = question.asked
    payload = ModelEvent(
        model=asked.model_name,
        version=asked.version,
        incident=question.request,
        report=asked.record,
        message=message,
    )
    send_event(event, payload)
    log.warning("%s", message)


def _why(run: FlowRunInfo | None) -> str:
    """Return why a flow run ended without a decision."""
    if run is None:
        return "its flow run was deleted"
    if _NEVER_RESUMED in run.message:
        return "nobody answered in time"
    return f"its flow run is {run.state}" + (f" ({run.message.rstrip('.')})" if run.message else "")
