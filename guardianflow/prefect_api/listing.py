"""Asks Prefect for flow runs: by key, by id, of one flow; page by page."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import FlowFilter, FlowRunFilterState
    from prefect.client.schemas.objects import FlowRun

_ENDED = ("COMPLETED", "FAILED", "CRASHED")
"""States in which a flow run has ended, other than by being cancelled."""
_PAGE = 200
"""The most that Prefect returns at once."""
# Enough that one of them was not started by hand for one model.
_NEWEST = 50
One = TypeVar("One")


def all_pages(read: Callable[..., Sequence[One]]) -> list[One]:
    """Everything there is, where `read` gives at most `limit` of it from an `offset` on."""
    found: list[One] = []
    while True:
        page = read(limit=_PAGE, offset=len(found))
        found += page
        if len(page) < _PAGE:
            return found


def by_key(client: "SyncPrefectClient", idempotency_key: str) -> "FlowRun | None":
    """The flow run that was submitted with a key; None if there is none."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey

    wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[idempotency_key]))
    runs = client.read_flow_runs(flow_run_filter=wanted, limit=1)
    return runs[0] if runs else None


def by_id(client: "SyncPrefectClient", ids: Sequence[UUID]) -> "list[tuple[FlowRun, bool]]":
    """The flow runs that still exist, each with whether its deployment was deleted."""
    from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter, FlowRunFilterId

    found: list[tuple[FlowRun, bool]] = []
    for start in range(0, len(ids), _PAGE):
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(ids[start : start + _PAGE])))
        # Not deployments, which may hold secrets and which approvers cannot read.
        deployed = client.read_flow_runs(
            flow_run_filter=wanted, deployment_filter=DeploymentFilter(), limit=_PAGE
        )
        found += [(run, False) for run in deployed]
        if rest := sorted({*ids[start : start + _PAGE]} - {run.id for run in deployed}):
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=rest))
            others = client.read_flow_runs(flow_run_filter=wanted, limit=_PAGE)
            found += [(run, bool(run.deployment_id)) for run in others]
    return found


def newest_ended(
    client: "SyncPrefectClient", flow: str, states: Sequence[str] = _ENDED
) -> "FlowRun | None":
    """The flow run that ended last in one of these states; those for one model do not count."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterEndTime
    from prefect.client.schemas.sorting import FlowRunSort

    found = client.read_flow_runs(
        flow_filter=named(flow),
        flow_run_filter=FlowRunFilter(
            state=in_state(*states), end_time=FlowRunFilterEndTime(is_null_=False)
        ),
        sort=FlowRunSort.END_TIME_DESC,
        limit=_NEWEST,
    )
    return next((run for run in found if not run.parameters.get("model_name")), None)


def of_flow(client: "SyncPrefectClient", flow: str, states: Sequence[str]) -> "list[FlowRun]":
    """All flow runs of a flow that are in one of these states."""
    from prefect.client.schemas.filters import FlowRunFilter

    wanted = FlowRunFilter(state=in_state(*states))
    return all_pages(
        partial(client.read_flow_runs, flow_filter=named(flow), flow_run_filter=wanted)
    )


def named(flow: str) -> "FlowFilter":
    """The filter for a flow."""
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    return FlowFilter(name=FlowFilterName(any_=[flow]))


def in_state(*states: str) -> "FlowRunFilterState":
    """The filter for states, by their types."""
    from prefect.client.schemas.filters import FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    wanted = FlowRunFilterStateType(any_=[StateType(state) for state in states])
    return FlowRunFilterState(type=wanted)
