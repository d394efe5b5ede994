"""The scheduled deployment on the embedded servers: what is done by hand is reported in time."""

import time
from datetime import UTC, datetime

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.e2e.plant import until
from tests.integration.releases import Releases, registered

IN_TIME_S = 60


@pytest.fixture
def prefect(embedded):
    """A client of the embedded Prefect server."""
    _, servers = embedded
    with (
        temporary_settings({PREFECT_API_URL: servers.prefect}),
        get_client(sync_client=True) as api,
    ):
        yield api


def alarms(prefect, name):
    wanted = {
        "event": {"name": ["guardianflow.model.alarm"]},
        "resource": {"id": [f"guardianflow.model.{registered(name)}"]},
    }
    answer = prefect.request("POST", "/events/filter", json={"filter": wanted}).json()
    return answer["events"]


def test_an_alias_moved_by_hand_is_reported_within_a_minute(
    embedded, prefect, plant, tmp_path, monkeypatch
):
    _, servers = embedded
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path))
    releases = Releases(servers.mlflow, tmp_path)
    name = releases.release()
    # The worst case: a pass has just looked, the next one is half a minute away.
    began = datetime.now(UTC)
    until(lambda: (last := plant.orchestrator.last_ended("reconcile")) and last[1] > began)
    releases.client.set_registered_model_alias(registered(name), "champion", "1")
    moved = time.monotonic()
    (alarm,) = until(lambda: alarms(prefect, name))
    took = time.monotonic() - moved
    print(f"alias moved by hand -> alarm: {took:.1f} s")
    assert took < IN_TIME_S
    assert alarm["payload"]["message"].startswith(f"@champion of {name} was moved by hand")
    releases.registry.repair(name, "ledger", reason="the test is over")
