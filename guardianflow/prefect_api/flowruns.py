"""Flow runs and waiting approvals as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


ENDED = "guardianflow.ended"
"""The label for why a promotion ended without a decision, in English; its state may be Korean."""
_UNDECIDED = ("Expired", "Void")


@dataclass(frozen=True)
class FlowRunInfo:
    """A flow run as it stands, with its name and page in the Prefect UI.

    Attributes:
        state: Name of its state, e.g. `Running`, `Suspended`, `Completed`.
        message: The message of its state; of a promotion that ended undecided, the recorded reason.
        final: Whether it is over.
        ok: Whether it is over and went well.
        waiting: Whether it waits for a person's answer.
        ended: When it ended, UTC; None before.
        orphaned: Whether its deployment was deleted, so that no worker starts or resumes it; known
            only if it was asked for.
    """

    id: str
    name: str
    url: str
    state: str
    message: str
    final: bool
    ok: bool
    waiting: bool
    ended: datetime | None = None
    orphaned: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class WaitingApproval:
    """A promotion that waits for a person.

    Attributes:
        model_name: Public name of the model that was asked for.
        version: The version to promote; None while it is not known.
        headline: The key figures in one line.
        since: When it began to wait, UTC.
        url: The page in the Prefect UI where it can be answered.
        expires: Until when it can be answered, UTC; None if nothing says so.
    """

    flow_run_id: str
    flow_run_name: str
    model_name: str
    version: int | None
    headline: str
    since: datetime
    url: str
    expires: datetime | None = None


def describe_run(run: "FlowRun", ui_url: str, *, orphaned: bool = False) -> FlowRunInfo:
    """Describe a flow run, with its page in the UI at `ui_url`."""
    state = run.state
    message = (state.message or "") if state else ""
    if state and state.name in _UNDECIDED:
        message = str(cast("dict[str, Any]", run.labels or {}).get(ENDED, message))
    return FlowRunInfo(
        id=str(run.id),
        name=run.name,
        url=f"{ui_url}/runs/flow-run/{run.id}",
        state=(state.name or state.type.value) if state else "Unknown",
        message=message,
        final=bool(state and state.is_final()),
        ok=bool(state and state.is_completed()),
        waiting=bool(state and state.is_paused()),
        # Plain: Prefect's own class is no part of what others read.
        ended=datetime.fromisoformat(run.end_time.isoformat()) if run.end_time else None,
        orphaned=orphaned,
        parameters=run.parameters,
    )


def describe_waiting(run: "FlowRun", ui_url: str) -> WaitingApproval:
    """Describe a promotion that waits, with its page in the UI at `ui_url`."""
    parameters = run.parameters
    # The flow sets these labels; before, only a version that was asked for by number is known.
    labels = cast("dict[str, Any]", run.labels or {})
    version = labels.get("guardianflow.model.version", parameters.get("model_version"))
    info = describe_run(run, ui_url)
    return WaitingApproval(
        flow_run_id=info.id,
        flow_run_name=info.name,
        model_name=str(parameters.get("model_name", "")),
        version=int(version) if version is not None else None,
        headline=str(labels.get("guardianflow.headline", "")),
        since=run.state.timestamp if run.state else datetime.now(UTC),
        url=info.url,
        expires=run.state.state_details.pause_timeout if run.state else None,
    )
