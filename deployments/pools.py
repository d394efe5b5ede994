"""Work pools, and what earlier workers left in them."""

from contextlib import suppress
from datetime import UTC, datetime

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from guardianflow.prefect_api.listing import in_state, named
from guardianflow.prefect_api.prefect_yaml import RELEASE_POOL, described


def apply_pools(client: SyncPrefectClient) -> None:
    """Create the work pools of prefect.yaml, or correct their limits."""
    for name in described().pools:
        _apply_pool(client, name)


def prepare_pool(name: str) -> None:
    """Make a pool ready for a worker, the only one that serves it."""
    with get_client(sync_client=True) as client:
        _apply_pool(client, name)
        crash_orphans(client, name)
        if name == RELEASE_POOL:
            drop_missed_passes(client)


def _apply_pool(client: SyncPrefectClient, name: str) -> None:
    limit = described().pools[name].concurrency_limit
    wanted = WorkPoolCreate(
        name=name,
        type="process",
        concurrency_limit=limit,
        base_job_template=ProcessWorker.get_default_base_job_template(),
    )
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        # Worker and `deployments.apply` may both be about to create it.
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(wanted)
            print(f"created work pool {name}")
        return
    if limit is not None and pool.concurrency_limit != limit:
        client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=limit))
        print(f"work pool {name}: limit {pool.concurrency_limit} -> {limit}")


def crash_orphans(client: SyncPrefectClient, pool: str) -> None:
    """Mark flow runs as crashed that no process executes any more.

    A killed worker leaves them in a running state for ever, where they hold the training pool's
    only slot. A suspended promotion is no orphan: it waits without a process.
    """
    runs = client.read_flow_runs(
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        flow_run_filter=FlowRunFilter(state=in_state("RUNNING", "PENDING", "CANCELLING")),
    )
    for run in runs:
        state = Crashed(message="Its worker was ended while it ran; start it again.")
        client.set_flow_run_state(run.id, state, force=True)
        print(f"flow run {run.name}: its worker is gone, marked as crashed")


def drop_missed_passes(client: SyncPrefectClient) -> None:
    """Delete the scheduled passes of `reconcile` whose time went by while nothing ran.

    One pass looks at everything. After a day off a hundred would wait, each a process to start.
    """
    before_now = FlowRunFilterExpectedStartTime.model_validate({"before_": datetime.now(UTC)})
    late = client.read_flow_runs(
        flow_filter=named("reconcile"),
        flow_run_filter=FlowRunFilter(state=in_state("SCHEDULED"), expected_start_time=before_now),
    )
    # What a person submitted is kept.
    missed = [run for run in late if run.auto_scheduled]
    for run in missed:
        client.delete_flow_run(run.id)
    if missed:
        print(f"dropped {len(missed)} passes of reconcile that were missed")
