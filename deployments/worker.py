"""A worker of one of our pools: `python -m deployments.worker POOL`.

It is Prefect's own process worker, on the server that all our commands use. Its flow runs use the
same Python (prefect.yaml). The worker of the release pool also watches whether a pass of
`reconcile` is needed (`watcher.py`).
"""

import argparse
import os
import runpy
import sys
from collections.abc import Sequence

from deployments.named import named_prefect
from guardianflow.errors import GuardianflowError
from guardianflow.prefect_api.prefect_yaml import RELEASE_POOL, described

PYTHON = "GUARDIANFLOW_PYTHON"
"""The variable with the Python of flow runs, for the command in prefect.yaml."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m deployments.worker`."""
    parser = argparse.ArgumentParser(prog="python -m deployments.worker", description=__doc__)
    parser.add_argument("pool", choices=list(described().pools))
    parser.add_argument("--name", help="its name in the Prefect UI")
    parser.add_argument(
        "--alone",
        action="store_true",
        help="no other worker serves this pool: what one left running is marked as crashed first",
    )
    options = parser.parse_args(arguments)
    try:
        address = named_prefect()
        if options.alone:
            _prepare(address, options.pool)
    except GuardianflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    os.environ[PYTHON] = sys.executable
    if options.pool == RELEASE_POOL:
        from deployments.watcher import start_watching
        from guardianflow.prefect_api.control import Orchestrator

        start_watching(Orchestrator(address))
    _work(options.pool, options.name)
    return 0


def _prepare(address: str, pool: str) -> None:
    """Make the pool ready; a server that is away is reported in one sentence."""
    from deployments.pools import prepare_pool
    from guardianflow.prefect_api.control import Orchestrator

    Orchestrator(address).check()
    prepare_pool(pool)


def _work(pool: str, name: str | None) -> None:
    """Be Prefect's worker, like `python -m prefect`, which ends the process by itself."""
    from prefect.settings import PREFECT_WORKER_QUERY_SECONDS, temporary_settings

    words = ["worker", "start", "--pool", pool, "--type", "process"]
    sys.argv = ["prefect", *words, *(["--name", name] if name else [])]
    every = described().pools[pool].worker_query_seconds
    # What the environment or Prefect's profile says counts.
    with temporary_settings(set_defaults={PREFECT_WORKER_QUERY_SECONDS: every}):
        runpy.run_module("prefect", run_name="__main__")


if __name__ == "__main__":
    sys.exit(main())
