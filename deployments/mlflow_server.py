"""The embedded MLflow server: MLflow's own application, behind a guard that asks for the password.

MLflow's basic-auth would ask for it, too, with a database of users and a hash of each password that
takes tens of milliseconds; here one user is enough, and pages of other servers on this machine,
which MLflow lets through, are refused.
"""

import os
from pathlib import Path
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Scope

from deployments.guard import Guard, allowed_hosts

DATA = "GUARDIANFLOW_MLFLOW_DATA"
"""Names the folder of the database and of the artifacts."""
PICTURES = (".png", ".jpg")
"""What the evidence of a promotion shows."""


def create_app() -> ASGIApp:
    """MLflow's application as `mlflow server` serves it, of the folder that `DATA` names."""
    from mlflow.server import constants
    from mlflow.server.handlers import initialize_backend_stores

    data = Path(os.environ[DATA])
    database = f"sqlite:///{data}/mlflow.db"
    hosts = allowed_hosts()
    # How `mlflow server` tells its settings to the application.
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: database,
        constants.REGISTRY_STORE_URI_ENV_VAR: database,
        constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: str(data / "artifacts"),
    }
    if hosts:
        # MLflow looks as well, and its defaults know this machine alone.
        local = ("127.0.0.1", "localhost", "[[]::1]")
        patterns = [pattern for name in (*local, *hosts) for pattern in (name, f"{name}:*")]
        os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(patterns)
        origins = [f"{scheme}://{name}" for name in hosts for scheme in ("http", "https")]
        os.environ["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(origins)
    initialize_backend_stores(database, database, "mlflow-artifacts:/")
    # It reads what was set above while it is imported.
    from mlflow.server.fastapi_app import app

    login = f"{os.environ['MLFLOW_TRACKING_USERNAME']}:{os.environ['MLFLOW_TRACKING_PASSWORD']}"
    return Guard(app, hosts=hosts, login=login, realm="guardianflow", open_to_all=_open_to_all)


def _open_to_all(scope: Scope) -> bool:
    """Whether the server runs; and pictures, which stand in pages of Prefect's.

    A browser shows no question for a password for them. Their address holds the id of a run, which
    is random: who knows it was shown the page, or may list the runs.
    """
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    if scope["path"] in ("/health", "/version"):
        return True
    asked = parse_qs(scope["query_string"].decode("latin-1"))
    return (
        scope["path"] == "/get-artifact"
        and len(asked.get("run_uuid", [""])[0]) == 32
        and [Path(path).suffix in PICTURES for path in asked.get("path", [])] == [True]
    )
