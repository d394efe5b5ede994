"""Which Prefect server a command of `deployments` works on: the one that every command finds.

Without an address Prefect starts a temporary server, takes whatever is brought to it, and forgets
all of it a moment later.
"""

import os

from guardianflow.errors import InputError
from guardianflow.machine.servers import find_servers


def named_prefect() -> str:
    """Point this process, and those it starts, at the Prefect server, and say which it is.

    The environment comes first, then what `make up` left, then Prefect's profile.

    Raises:
        InputError: No server is named anywhere.
    """
    servers = find_servers()
    address, source = servers.prefect, servers.source
    if address and not os.environ.get("PREFECT_API_URL") and servers.mlflow:
        # Of another server's environment the MLflow beside it is not to be taken.
        os.environ["MLFLOW_TRACKING_URI"] = servers.mlflow
    os.environ.update(servers.account)
    if not address:
        # Here, since it reads the environment while it is imported.
        from prefect.settings import PREFECT_API_URL

        if address := PREFECT_API_URL.value():
            source = "Prefect's profile"
    if not address:
        raise InputError(
            "No Prefect server is named: what is brought to none is gone at once.",
            remedy="Start the embedded ones with `make up`, or set PREFECT_API_URL.",
        )
    os.environ["PREFECT_API_URL"] = address
    print(f"Prefect {address} ({source})", flush=True)
    return address
