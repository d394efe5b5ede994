"""The embedded servers after a pause in which somebody else took their port."""

import socket
from urllib.parse import urlsplit

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks import MlflowCredentials
from blocks.mlflow_credentials import DEFAULT_DOCUMENT
from deployments import local
from guardianflow.machine.servers import KEY_FILE
from testbed.servers import signed_in

pytestmark = pytest.mark.long


def stored(servers):
    with signed_in(servers), temporary_settings({PREFECT_API_URL: servers.prefect}):
        return MlflowCredentials.load(DEFAULT_DOCUMENT)


def test_the_credentials_follow_mlflow_to_another_port_and_key(tmp_path, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path))
    state_dir = tmp_path / "up"
    with local.running(state_dir) as first:
        assert stored(first).tracking_uri == first.mlflow
        with signed_in(first), temporary_settings({PREFECT_API_URL: first.prefect}):
            # As a version without keys left it.
            former = MlflowCredentials(tracking_uri=first.mlflow)
            former.save(DEFAULT_DOCUMENT, overwrite=True)
    (state_dir / KEY_FILE).unlink()
    with socket.socket() as somebody:
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        somebody.bind(("127.0.0.1", urlsplit(first.mlflow).port))
        somebody.listen()
        with local.running(state_dir) as second:
            assert second.prefect == first.prefect
            assert second.mlflow != first.mlflow
            assert stored(second).tracking_uri == second.mlflow
            assert second.account != first.account
            assert (
                stored(second).environment().items()
                <= {
                    "MLFLOW_TRACKING_URI": second.mlflow,
                    **second.account,
                }.items()
            )
            assert stored(second).username
