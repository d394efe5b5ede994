"""The embedded servers after a pause in which somebody else took their port."""

import socket
from urllib.parse import urlsplit

from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks import MlflowCredentials
from blocks.mlflow_credentials import DEFAULT_DOCUMENT
from deployments import local


def stored_address(prefect):
    with temporary_settings({PREFECT_API_URL: prefect}):
        return MlflowCredentials.load(DEFAULT_DOCUMENT).tracking_uri


def test_the_credentials_follow_mlflow_to_another_port(tmp_path, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path))
    state_dir = tmp_path / "up"
    with local.running(state_dir) as first:
        assert stored_address(first.prefect) == first.mlflow
    with socket.socket() as somebody:
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        somebody.bind(("127.0.0.1", urlsplit(first.mlflow).port))
        somebody.listen()
        with local.running(state_dir) as second:
            assert second.prefect == first.prefect
            assert second.mlflow != first.mlflow
            assert stored_address(second.prefect) == second.mlflow
