"""Notices promotions that end, or ended, without a decision: not answered, cancelled, void, failed.

    open in the book, its last day has begun -> event sent -> noted in the book
    open in the book, flow run over -> event sent -> status `expired` on the version -> closed

A suspended flow run that times out or is cancelled runs no hook, so the flow `reconcile` looks. The
event comes first: a process that is killed before the end tells twice rather than never.
"""

from datetime import UTC, datetime

from prefect import get_run_logger, task

from flows.connection import AGAIN, connect, mirror_policy
from flows.publishing import send_event
from guardianflow.errors import LedgerDamaged
from guardianflow.events import EventName, ModelEvent
from guardianflow.orchestration.control import Orchestrator
from guardianflow.orchestration.flowruns import FlowRunInfo
from guardianflow.promotion import expire, was_decided
from guardianflow.promotion.question import OpenQuestion, open_questions
from guardianflow.registry import ModelRegistryManager

_NEVER_RESUMED = "never resumed"


@task(name="look-at-questions", retries=2, retry_delay_seconds=3, **AGAIN)
def look_at_questions(now: datetime | None = None) -> list[str]:
    """Remind of questions that end soon, close those that are over; what was told, in words.

    It also copies the approval policy to MLflow, where an edit in the UI counts from then on.

    Args:
        now: The time of the pass.
    """
    registry = connect()
    try:
        if mirror_policy(registry):
            get_run_logger().info("copied the approval policy to MLflow")
        waiting = open_questions(registry.client)
    except LedgerDamaged:
        # What carries both is gone, which the pass tells; nothing is promoted until it is back.
        return []
    if not waiting:
        return []
    runs = Orchestrator().find_all([question.request for question in waiting])
    now = now or datetime.now(UTC)
    said = [_look_at(registry, one, runs.get(one.request), now) for one in waiting]
    return [text for text in said if text]


def _look_at(
    registry: ModelRegistryManager, question: OpenQuestion, run: FlowRunInfo | None, now: datetime
) -> str | None:
    if run is not None and not run.final:
        return _remind(question) if run.waiting and question.asked.is_ending(now) else None
    asked = question.asked
    ended_well = run is not None and run.ok
    if ended_well or was_decided(registry, asked.model_name, question.request):
        # The process ended between the decision and the book.
        question.close(run.state if run else "decided")
        return None
    why = _why(run)
    message = f"Nobody decided about {asked.model_name} version {asked.version}: {why}."
    _tell(EventName.UNDECIDED, question, message)
    expire(registry, asked.versions, why)
    question.close(why)
    return message


def _remind(question: OpenQuestion) -> str | None:
    """Tell once that the last day of a question has begun."""
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


def _tell(event: EventName, question: OpenQuestion, message: str) -> None:
    asked = question.asked
    payload = ModelEvent(
        model=asked.model_name,
        version=asked.version,
        incident=question.request,
        report=asked.record,
        message=message,
    )
    send_event(event, payload)
    get_run_logger().warning("%s", message)


def _why(run: FlowRunInfo | None) -> str:
    """Why a flow run ended without a decision, in words."""
    if run is None:
        return "its flow run was deleted"
    if _NEVER_RESUMED in run.message:
        return "nobody answered in time"
    return f"its flow run is {run.state}" + (f" ({run.message.rstrip('.')})" if run.message else "")
