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
    # Read by Prefect when it is imported; what somebody set counts.
    every = described().pools[options.pool].worker_query_seconds
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", str(every))
    try:
        address = named_prefect()
    except GuardianflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    os.environ[PYTHON] = sys.executable
    if options.alone:
        from deployments.pools import prepare_pool

        prepare_pool(options.pool)
    if options.pool == RELEASE_POOL:
        from deployments.watcher import start_watching
        from guardianflow.prefect_api.control import Orchestrator

        start_watching(Orchestrator(address))
    words = ["worker", "start", "--pool", options.pool, "--type", "process"]
    sys.argv = ["prefect", *words, *(["--name", options.name] if options.name else [])]
    # Like `python -m prefect`, which ends the process by itself.
    runpy.run_module("prefect", run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
