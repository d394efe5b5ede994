"""What the orchestrator says about flow runs, approvals and automations, as plain data."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class FlowRunInfo:
    """A flow run as it stands.

    Attributes:
        id: The flow run's id.
        name: Its name in the Prefect UI.
        url: Its page in the Prefect UI.
        state: Name of its state, e.g. `Running`, `Suspended`, `Completed`.
        message: What the state says.
        final: Whether it is over.
        ok: Whether it is over and went well.
        waiting: Whether it waits for a person's answer.
    """

    id: str
    name: str
    url: str
    state: str
    message: str
    final: bool
    ok: bool
    waiting: bool


@dataclass(frozen=True)
class WaitingApproval:
    """A promotion that waits for a person.

    Attributes:
        flow_run_id: The flow run that waits.
        flow_run_name: Its name in the Prefect UI.
        model_name: Public name of the model that was asked for.
        version: The version that asks to become champion; None while it is not known.
        headline: The key figures in one line.
        since: When it began to wait, UTC.
        url: The page in the Prefect UI where it can be answered.
    """

    flow_run_id: str
    flow_run_name: str
    model_name: str
    version: int | None
    headline: str
    since: datetime
    url: str


@dataclass(frozen=True)
class FailedAction:
    """An automation whose action failed: something that should have run did not."""

    automation: str
    reason: str
    time: datetime
