"""Bring a Prefect server to the described state; doing it twice changes nothing.

work pools -> block types -> block documents (seeds) -> `prefect deploy --all` -> check
-> a prefilled rollback for each scenario -> automations that tell people
-> MLflow: the ledger, and whether its params stay as first written
"""

import argparse
import os
import sys

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from deployments.automations import NOBODY, apply_automations
from deployments.deploying import deploy
from deployments.emergency import apply_rollbacks
from deployments.named import named_prefect
from deployments.pools import apply_pools
from deployments.readiness import prove_a_pass
from deployments.seeds import apply_blocks
from guardianflow.errors import GuardianflowError
from guardianflow.machine.servers import find_servers
from guardianflow.mlflow_store.client import connect, server_version
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.registry.ledger.log import prepare_server


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
        deploy(client)
        apply_rollbacks(client)
        apply_automations(client, notify)
    print("applied: pools, blocks, deployments and automations are as described")


def apply_mlflow(*, again: bool = False) -> None:
    """Make the MLflow server of this process's settings ready for rotations, where one is named.

    Args:
        again: Test again whether params stay as first written: the database may be another one.

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


def main(arguments: list[str] | None = None) -> int:
    """The command `python -m deployments.apply`."""
    options = _parser().parse_args(arguments)
    try:
        if options.mlflow:
            apply_mlflow(again=True)
            return 0
        # What Prefect read when it was imported would win over the environment.
        address = named_prefect()
        login = os.environ.get("PREFECT_API_AUTH_STRING") or PREFECT_API_AUTH_STRING.value()
        with temporary_settings({PREFECT_API_URL: address, PREFECT_API_AUTH_STRING: login}):
            # A server that is away, or is something else, is reported in one sentence.
            Orchestrator(address).check()
            _run(options)
    except GuardianflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _run(options: argparse.Namespace) -> None:
    apply(force=options.force, former_mlflow=options.former_mlflow, notify=options.notify)
    apply_mlflow()
    if options.prove:
        prove_a_pass()


def _parser() -> argparse.ArgumentParser:
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
    # For `make up`, which runs this as a process of its own, with the servers' environment.
    parser.add_argument("--former-mlflow", help=argparse.SUPPRESS)
    parser.add_argument("--prove", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
