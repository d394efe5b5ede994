"""Passes on the logs of flow runs, each line once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import Log

_PAGE = 200
_WORKERS_TALK = ("prefect.flow_runs.worker", "prefect.flow_runs.runner", "prefect.worker")
# Lines reach the server in batches: an older one may come after newer ones.
_LATE = timedelta(seconds=30)


@dataclass
class SeenLines:
    """The log lines that were passed on, and the time of the newest."""

    lines: set[UUID] = field(default_factory=set[UUID])
    until: datetime = datetime(2000, 1, 1, tzinfo=UTC)


def pass_on(
    client: "SyncPrefectClient", run_id: UUID, told: SeenLines, on_log: Callable[[str], None]
) -> None:
    """Pass on the new lines of a flow run and its subflows, the oldest first."""
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
    page: list[Log] | None = None
    offset = 0
    while page is None or len(page) == _PAGE:
        page = client.read_logs(wanted, _PAGE, offset, sort=LogSort.TIMESTAMP_ASC)
        offset += len(page)
        for line in page:
            if line.id in told.lines or line.name in _WORKERS_TALK:
                continue
            told.lines.add(line.id)
            told.until = max(told.until, line.timestamp)
            on_log(line.message)
