"""Notices promotions that ended without a decision: nobody answered, cancelled, void, failed.

    open in the book, flow run over -> event sent -> status `expired` on the version -> closed

A suspended flow run that times out or is cancelled runs no hook, so the flow `reconcile` looks. The
event comes first: a process that is killed before the end tells twice rather than never.
"""

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.connection import connect, mirror_policy, worth_retrying
from flows.publishing import send_event
from guardianflow.control import Orchestrator
from guardianflow.errors import LedgerDamaged
from guardianflow.events import EventName, ModelEvent
from guardianflow.flowruns import FlowRunInfo
from guardianflow.promotion import expire, was_decided
from guardianflow.question import OpenQuestion, open_questions
from guardianflow.registry import ModelRegistryManager

_NEVER_RESUMED = "never resumed"


@task(
    name="look-at-questions",
    retries=2,
    retry_delay_seconds=3,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def look_at_questions() -> list[str]:
    """Close the questions whose flow runs are over; what was told, in words.

    It also copies the approval policy to MLflow, where an edit in the UI counts from then on.
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
    return [
        said for question in waiting if (said := _look_at(registry, question, runs)) is not None
    ]


def _look_at(
    registry: ModelRegistryManager, question: OpenQuestion, runs: dict[str, FlowRunInfo]
) -> str | None:
    run = runs.get(question.request)
    if run is not None and not run.final:
        return None
    asked = question.asked
    ended_well = run is not None and run.ok
    if ended_well or was_decided(registry, asked.model_name, question.request):
        # The process ended between the decision and the book.
        question.close(run.state if run else "decided")
        return None
    why = _why(run)
    message = f"Nobody decided about {asked.model_name} version {asked.version}: {why}."
    send_event(
        EventName.UNDECIDED,
        ModelEvent(
            model=asked.model_name,
            version=asked.version,
            incident=question.request,
            report=asked.record,
            message=message,
        ),
    )
    expire(registry, asked.versions, why)
    question.close(why)
    get_run_logger().warning("%s", message)
    return message


def _why(run: FlowRunInfo | None) -> str:
    """Why a flow run ended without a decision, in words."""
    if run is None:
        return "its flow run was deleted"
    if _NEVER_RESUMED in run.message:
        return "nobody answered in time"
    return f"its flow run is {run.state}" + (f" ({run.message.rstrip('.')})" if run.message else "")
