"""Addresses in the MLflow UI, for pages and messages that people read."""

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from guardianflow.names import ModelName

if TYPE_CHECKING:
    from mlflow import MlflowClient


def run_link(client: "MlflowClient", run_id: str) -> str:
    """Address of a run."""
    experiment = client.get_run(run_id).info.experiment_id
    return f"{_address(client)}/#/experiments/{experiment}/runs/{run_id}"


def version_link(client: "MlflowClient", model_name: str, version: int) -> str:
    """Address of a model version."""
    registered = ModelName.parse(model_name).registered
    return f"{_address(client)}/#/models/{registered}/versions/{version}"


def file_link(client: "MlflowClient", run_id: str, path: str) -> str:
    """Address of one file of a run."""
    return f"{_address(client)}/get-artifact?" + urlencode({"path": path, "run_uuid": run_id})


def picture_links(client: "MlflowClient", run_id: str) -> dict[str, str]:
    """Addresses of the pictures among a run's files, by file name."""

    def pictures(folder: str | None) -> list[str]:
        found: list[str] = []
        for file in client.list_artifacts(run_id, folder):
            if file.is_dir:
                found += pictures(file.path)
            elif file.path.endswith((".png", ".jpg")):
                found.append(file.path)
        return found

    return {path.rpartition("/")[2]: file_link(client, run_id, path) for path in pictures(None)}


def _address(client: "MlflowClient") -> str:
    return client.tracking_uri.rstrip("/")
