"""Bring a Prefect server to the described state; doing it twice changes nothing.

    work pools -> block types -> block documents (seeds) -> `prefect deploy --all` -> check
        -> a prefilled rollback for each scenario -> automations that tell people
        -> MLflow: the ledger, and whether its params stay as first written

`prefect.yaml` is the one list of deployments. This module adds what that file cannot say, and
checks what came out: every deployment typed, every automation there once.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    get_current_settings,
    temporary_settings,
)
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from deployments import CHECKOUT
from deployments.automations import NOBODY, apply_automations
from deployments.emergency import apply_rollbacks
from deployments.named import named_prefect
from deployments.seeds import apply_blocks
from guardianflow.errors import GuardianflowError, Refused
from guardianflow.machine.servers import find_servers
from guardianflow.mlflow_store.client import connect, server_version
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.prefect_yaml import (
    RECONCILE,
    PrefectYaml,
    described,
    read_prefect_yaml,
)
from guardianflow.registry.ledger.log import prepare_server

_PAGE = 200


def apply_pools(client: SyncPrefectClient) -> None:
    """Create the work pools, or set their limits right."""
    for name, settings in described().pools.items():
        limit = settings.concurrency_limit
        try:
            pool = client.read_work_pool(name)
        except ObjectNotFound:
            client.create_work_pool(
                WorkPoolCreate(
                    name=name,
                    type="process",
                    concurrency_limit=limit,
                    base_job_template=ProcessWorker.get_default_base_job_template(),
                )
            )
            print(f"created work pool {name}")
            continue
        if limit is not None and pool.concurrency_limit != limit:
            client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=limit))
            print(f"work pool {name}: limit {pool.concurrency_limit} -> {limit}")


def crash_orphans(client: SyncPrefectClient, pools: Sequence[str]) -> None:
    """Mark flow runs as crashed that no process executes: call it while no worker of `pools` runs.

    A killed worker leaves them in a running state for ever, where they hold the training pool's
    only slot. A suspended promotion is no orphan: it waits without a process.
    """
    states = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    runs = client.read_flow_runs(
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=list(pools))),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states))
        ),
    )
    for run in runs:
        state = Crashed(message="Its worker was ended while it ran; start it again.")
        client.set_flow_run_state(run.id, state, force=True)
        print(f"flow run {run.name}: its worker is gone, marked as crashed")


def drop_missed_passes(client: SyncPrefectClient) -> None:
    """Delete the passes of `reconcile` whose time went by while nothing ran: one will do.

    After a day off a hundred of them would wait, each a process to start.
    """
    missed = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["reconcile"])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            expected_start_time=FlowRunFilterExpectedStartTime.model_validate(
                {"before_": datetime.now(UTC)}
            ),
        ),
    )
    # What a person submitted is kept.
    missed = [run for run in missed if run.auto_scheduled]
    for run in missed:
        client.delete_flow_run(run.id)
    if missed:
        print(f"dropped {len(missed)} passes of reconcile that were missed")


def deploy() -> None:
    """Run `prefect deploy --all`, from the checkout because it works nowhere else.

    Raises:
        Refused: It failed; its output is in the message.
    """
    # The settings of this process, which need not come from its environment (tests).
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    result = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=CHECKOUT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise Refused(f"`prefect deploy --all` failed:\n{result.stdout}\n{result.stderr}")


def find_differences(client: SyncPrefectClient, expected: PrefectYaml) -> list[str]:
    """What is wrong with the state of the server; empty when all is as described.

    A flow that does not import is deployed without a schema, and `prefect deploy` exits 0.
    """
    problems: list[str] = []
    found = {(d.entrypoint, d.name): d for d in _all_deployments(client)}
    for key, entrypoint in expected.deployments.items():
        deployment = found.get((entrypoint, key.partition("/")[2]))
        if deployment is None:
            problems.append(f"deployment {entrypoint} is missing")
            continue
        properties = (deployment.parameter_openapi_schema or {}).get("properties", {})
        untyped = [key for key, value in properties.items() if not _typed(value)]
        if not properties or untyped:
            problems.append(f"deployment {entrypoint} is untyped: {untyped or 'no parameters'}")
    for trigger in expected.triggers:
        if (times := len(client.read_automations_by_name(trigger.name))) != 1:
            problems.append(f"automation {trigger.name!r} is there {times} times")
    return problems


def _all_deployments(client: SyncPrefectClient) -> Iterator[DeploymentResponse]:
    """Every deployment of the server, page by page: others may have theirs there too."""
    offset = 0
    while page := client.read_deployments(limit=_PAGE, offset=offset):
        yield from page
        offset += len(page)


def _typed(schema: Mapping[str, object]) -> bool:
    return bool({"type", "$ref", "allOf", "anyOf", "enum", "oneOf"} & set(schema))


def apply(
    *, force: bool = False, former_mlflow: str | None = None, notify: str | None = None
) -> None:
    """Bring the server of this process's settings to the described state.

    Args:
        force: Overwrite blocks that were edited.
        former_mlflow: As for `apply_blocks`.
        notify: The notification block that tells people, as for `apply_automations`.

    Raises:
        Refused: What came out is not what was described.
        InputError: There is no such notification block.
    """
    with get_client(sync_client=True) as client:
        apply_pools(client)
        apply_blocks(force=force, former_mlflow=former_mlflow)
        deploy()
        problems = find_differences(client, read_prefect_yaml(CHECKOUT / "prefect.yaml"))
    if problems:
        raise Refused(
            "The server is not as prefect.yaml describes: " + "; ".join(problems) + ".",
            remedy="Make every flow import (`python -c 'import flows.promotion'`), apply again.",
        )
    with get_client(sync_client=True) as client:
        apply_rollbacks(client)
        apply_automations(client, notify)
    print("applied: pools, blocks, deployments and automations are as described")


def apply_mlflow(*, again: bool = False) -> None:
    """Make the MLflow server of this process's settings ready for rotations, where one is named.

    Args:
        again: Try out whether params stay as first written although that was done before: its
            database may be another one now.

    Raises:
        Refused: They do not, the ledger is damaged, or the account is no administrator.
    """
    if not find_servers().mlflow:
        print("MLflow: no server is named (MLFLOW_TRACKING_URI), nothing was prepared")
        return
    client = connect()
    index = prepare_server(client, again=again)
    print(
        f"MLflow {client.tracking_uri}: the ledger is experiment {index.experiment_id}, "
        f"params stay as first written (MLflow {server_version(client) or 'of unknown version'})"
    )


def prove_a_pass(timeout_s: float = 180.0) -> None:
    """Let one pass of `reconcile` be made: flow runs begin here, and come to their end.

    Raises:
        Refused: It fails or crashes, or none ends in time.
    """
    orchestrator, began = Orchestrator(), datetime.now(UTC)
    # Another one that is at work has this one cancelled, and proves the same.
    orchestrator.submit(RECONCILE, {"files": "none"})
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        last = orchestrator.last_ended("reconcile")
        if last and last[1] > began:
            if last[0].ok:
                return
            raise Refused(
                f"A pass of `reconcile` is {last[0].state}: {last[0].message or 'without a word'}",
                remedy=f"Its log: {last[0].url}; where it is empty, that of the release worker.",
            )
        time.sleep(0.3)
    raise Refused(
        f"No pass of `reconcile` came to its end within {timeout_s:.0f} s.",
        remedy="`guardianflow doctor` says what keeps it.",
    )


def _prepare(pools: Sequence[str]) -> None:
    """What is done before the workers of pools start."""
    with get_client(sync_client=True) as client:
        apply_pools(client)
        crash_orphans(client, pools)
        drop_missed_passes(client)


def main(arguments: list[str] | None = None) -> int:
    """The command `python -m deployments.apply`."""
    parser = argparse.ArgumentParser(prog="python -m deployments.apply", description=__doc__)
    parser.add_argument("--force", action="store_true", help="overwrite edited blocks")
    parser.add_argument(
        "--mlflow", action="store_true", help="only make MLflow ready, and check it again"
    )
    parser.add_argument(
        "--notify",
        metavar="TYPE/DOCUMENT",
        help="tell people by this notification block, e.g. slack-webhook/oncall; it is remembered. "
        f"'{NOBODY}' stops it",
    )
    parser.add_argument("--former-mlflow", help=argparse.SUPPRESS)
    parser.add_argument("--prove", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--prepare", nargs="+", choices=list(described().pools), help=argparse.SUPPRESS
    )
    options = parser.parse_args(arguments)
    try:
        if options.mlflow:
            apply_mlflow(again=True)
            return 0
        # What Prefect read when it was imported would win over the environment.
        address = named_prefect()
        login = os.environ.get("PREFECT_API_AUTH_STRING") or PREFECT_API_AUTH_STRING.value()
        with temporary_settings({PREFECT_API_URL: address, PREFECT_API_AUTH_STRING: login}):
            # One that is away, or is something else, is told in a sentence.
            Orchestrator(address).check()
            if options.prepare:
                _prepare(options.prepare)
                return 0
            if options.prove:
                prove_a_pass()
                return 0
            apply(
                force=options.force,
                former_mlflow=options.former_mlflow,
                notify=options.notify,
            )
            apply_mlflow()
    except GuardianflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
