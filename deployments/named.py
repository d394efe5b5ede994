"""Finds the Prefect server that a command of `deployments` works on.

Without an address Prefect would start a temporary server, accept everything, and forget it a moment
later.
"""

import os

from guardianflow.errors import InputError
from guardianflow.machine.servers import find_servers


def named_prefect() -> str:
    """Point this process, and those it starts, at the Prefect server, and print which it is.

    The environment comes first, then what `make up` left, then Prefect's profile.

    Raises:
        InputError: No server is named anywhere.
    """
    servers = find_servers()
    address, source = servers.prefect, servers.source
    if address and not os.environ.get("PREFECT_API_URL") and servers.mlflow:
        # The MLflow of these servers, not that of an environment for others.
        os.environ["MLFLOW_TRACKING_URI"] = servers.mlflow
    os.environ.update(servers.account)
    if not address:
        # Imported here, because it reads the environment when it is imported.
        from prefect.settings import PREFECT_API_URL

        if address := PREFECT_API_URL.value():
            source = "Prefect's profile"
    if not address:
        raise InputError(
            "No Prefect server is named: a temporary one would forget everything at once.",
            remedy="Start the embedded ones with `make up`, or set PREFECT_API_URL.",
        )
    os.environ["PREFECT_API_URL"] = address
    print(f"Prefect {address} ({source})", flush=True)
    return address
