"""Runs a command of Prefect's or MLflow's own on the servers that all our commands use.

    python -m deployments.tool prefect work-pool resume guardianflow-release
    python -m deployments.tool mlflow runs restore --run-id RUN

If the shell names no server, Prefect's own command uses a temporary one, and MLflow's uses files in
this folder.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from deployments.named import named_prefect
from guardianflow.errors import GuardianflowError
from guardianflow.machine.servers import use_servers


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m deployments.tool prefect|mlflow|python ...`."""
    parser = argparse.ArgumentParser(prog="python -m deployments.tool", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("program", choices=("prefect", "mlflow", "python"))
    parser.add_argument("words", nargs=argparse.REMAINDER, help="as the program wants them")
    options = parser.parse_args(arguments)
    try:
        if options.program == "prefect":
            named_prefect()
        else:
            use_servers()
            # Here, since Prefect's commands need nothing of it, and it takes seconds.
            from guardianflow.mlflow_store.client import connect

            print(f"MLflow {connect().tracking_uri}", flush=True)
    except GuardianflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    module = [] if options.program == "python" else ["-m", options.program]
    return os.execv(sys.executable, [sys.executable, *module, *options.words])


if __name__ == "__main__":
    sys.exit(main())
