"""Follows a flow run: passes on its log, line by line, until it is over or waits for a person."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from guardianflow.errors import OrchestratorUnavailable
from guardianflow.machine.polling import look_until
from guardianflow.prefect_api.flowruns import FlowRunInfo
from guardianflow.prefect_api.listing import all_pages

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_POLL_S = 1.0
_PATIENCE_S = 30.0
_WORKERS_TALK = ("prefect.flow_runs.worker", "prefect.flow_runs.runner", "prefect.worker")
# Lines reach the server in batches: an older one may come after newer ones.
_LATE = timedelta(seconds=30)


@dataclass
class SeenLines:
    """The log lines that were passed on, and the time of the newest."""

    lines: set[UUID] = field(default_factory=set[UUID])
    until: datetime = datetime(2000, 1, 1, tzinfo=UTC)


def follow_run(look: Callable[[], FlowRunInfo], timeout_s: float | None) -> FlowRunInfo:
    """Look at a flow run and its log every second until it is over, waits, or the time is."""
    patiently = Retrying(
        retry=retry_if_exception_type(OrchestratorUnavailable),
        wait=wait_fixed(_POLL_S),
        stop=stop_after_delay(_PATIENCE_S),
        reraise=True,
    )
    info = look_until(
        lambda: patiently(look),
        lambda info: info.final or info.waiting,
        every_s=_POLL_S,
        timeout_s=timeout_s,
    )
    # The last lines arrive at the server a moment after the state.
    time.sleep(_POLL_S)
    look()
    return info


def pass_on(
    client: "SyncPrefectClient", run_id: UUID, told: SeenLines, on_log: Callable[[str], None]
) -> None:
    """Pass on the new lines of a flow run and its subflows, each once, the oldest first."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterParentFlowRunId,
        LogFilter,
        LogFilterFlowRunId,
        LogFilterTimestamp,
    )
    from prefect.client.schemas.sorting import LogSort

    below = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run_id]))
    runs = [run_id, *(run.id for run in client.read_flow_runs(flow_run_filter=below))]
    wanted = LogFilter(
        flow_run_id=LogFilterFlowRunId(any_=runs),
        timestamp=LogFilterTimestamp.model_validate({"after_": told.until - _LATE}),
    )
    for line in all_pages(partial(client.read_logs, wanted, sort=LogSort.TIMESTAMP_ASC)):
        if line.id in told.lines or line.name in _WORKERS_TALK:
            continue
        told.lines.add(line.id)
        told.until = max(told.until, line.timestamp)
        on_log(line.message)
