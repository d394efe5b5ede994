"""Hands a person's answer to a flow run that waits, and says in words why it was not taken."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from guardianflow.errors import AnswerInvalid, NothingWaiting
from guardianflow.machine.polling import look_until
from guardianflow.prefect_api.flowruns import FlowRunInfo

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import OrchestrationResult

_FORM_TIMEOUT_S = 5.0
_FORM_POLL_S = 0.25
_NO_FORM_YET = "Run input schema not found"


def resume(
    client: "SyncPrefectClient", run_id: UUID, answer: dict[str, Any]
) -> "OrchestrationResult[Any]":
    """Hand over the answer; where the question has no form yet, wait a moment for it.

    Prefect suspends the flow run first and saves the form's schema after that.
    """
    return look_until(
        lambda: client.resume_flow_run(run_id, run_input=answer),
        lambda result: _NO_FORM_YET not in _reason(result),
        every_s=_FORM_POLL_S,
        timeout_s=_FORM_TIMEOUT_S,
    )


def require_taken(result: "OrchestrationResult[Any]", run_id: str, url: str) -> None:
    """Make sure that the server took an answer.

    Raises:
        NothingWaiting: The flow run does not wait (any more).
        AnswerInvalid: The server refuses the answer; the run goes on waiting.
    """
    from prefect.client.schemas.responses import SetStateStatus

    if result.status == SetStateStatus.ABORT:
        raise NothingWaiting(
            f"Flow run {run_id} does not wait for an answer (any more).",
            # Also where this answer was taken and the word of it got lost: its pages tell.
            remedy=f"`guardianflow pending` lists those that do; what became of this one: {url}.",
            run=run_id,
        )
    if result.status != SetStateStatus.ACCEPT:
        why = _reason(result) or "no reason given"
        raise AnswerInvalid(
            f"The answer was refused: {why.rstrip('.')}.",
            remedy=f"The promotion goes on waiting; answer again, or in the UI: {url}.",
            run=run_id,
        )


def cannot_go_on(run: FlowRunInfo) -> NothingWaiting:
    """The error that an answer would have no effect: no worker resumes such a flow run."""
    name, version = (run.parameters.get(key) for key in ("model_name", "model_version"))
    return NothingWaiting(
        f"No answer to flow run {run.name} can be carried out: its deployment was deleted on the "
        "Prefect server. Nothing was answered.",
        remedy="Bring it back with `python -m deployments.apply`, from the checkout; the next "
        f"pass of `reconcile` asks again, or at once: `guardianflow promote {name} --request"
        + (f" --model-version {version}`." if version else "`."),
        run=run.id,
    )


def _reason(result: "OrchestrationResult[Any]") -> str:
    return str(getattr(result.details, "reason", None) or "")
