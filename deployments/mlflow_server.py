"""The embedded MLflow server: MLflow's own application, behind a guard that asks for the password.

MLflow's basic-auth could ask for it, with a database of users and a hash of each password that
takes tens of milliseconds. Here one user is enough, and the guard also refuses pages of other
servers on this machine, which MLflow lets through.
"""

import os
from pathlib import Path
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Scope

from deployments.guard import Guard, allowed_hosts

DATA = "GUARDIANFLOW_MLFLOW_DATA"
"""The variable with the folder of database and artifacts."""
PICTURES = (".png", ".jpg")
"""What the evidence of a promotion shows."""


def create_app() -> ASGIApp:
    """MLflow's application as `mlflow server` serves it, for the folder that `DATA` names."""
    from mlflow.server import constants
    from mlflow.server.handlers import initialize_backend_stores

    data = Path(os.environ[DATA])
    database = f"sqlite:///{data}/mlflow.db"
    hosts = allowed_hosts()
    # This is how `mlflow server` passes its settings to the application.
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: database,
        constants.REGISTRY_STORE_URI_ENV_VAR: database,
        constants.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: str(data / "artifacts"),
    }
    if hosts:
        # MLflow checks names too, and by default knows only this machine.
        local = ("127.0.0.1", "localhost", "[[]::1]")
        patterns = [pattern for name in (*local, *hosts) for pattern in (name, f"{name}:*")]
        os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(patterns)
        origins = [f"{scheme}://{name}" for name in hosts for scheme in ("http", "https")]
        os.environ["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(origins)
    initialize_backend_stores(database, database, "mlflow-artifacts:/")
    # It reads the settings above when it is imported.
    from mlflow.server.fastapi_app import app

    login = f"{os.environ['MLFLOW_TRACKING_USERNAME']}:{os.environ['MLFLOW_TRACKING_PASSWORD']}"
    return Guard(app, hosts=hosts, login=login, realm="guardianflow", open_to_all=_open_to_all)


def _open_to_all(scope: Scope) -> bool:
    """Whether no password is needed: for the health check, and for pictures.

    Pages of Prefect's show the pictures, and a browser asks for no password there. Their address
    has the random id of a run: only those know it who saw the page or may list the runs.
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
