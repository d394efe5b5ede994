"""The embedded servers, started once for all end-to-end tests; each module has its own scenario."""

import uuid

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.worker import EventsWorker

from deployments import local
from deployments.processes import marked
from testbed.servers import signed_in
from tests.e2e.plant import Plant


@pytest.fixture(scope="package")
def embedded(tmp_path_factory):
    """Servers and workers as `make up` starts them; nothing may be left running."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUARDIANFLOW_HOME", str(home))
        patch.setenv("GUARDIANFLOW_APPROVERS", str(home / "approvers.json"))
        with local.running(home / "up") as servers, signed_in(servers):
            yield home, servers
            # What this process still wants to send has nowhere to go afterwards; the tests that
            # follow with a Prefect server of their own would wait for it at their end.
            EventsWorker.drain_all(timeout=30)
        assert marked(home / "up") == []


@pytest.fixture(scope="module")
def plant(embedded):
    """The embedded servers with a tiny scenario of this module's own."""
    home, servers = embedded
    return Plant(home / "up", servers, f"e{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="package")
def prefect(embedded):
    """A client of the embedded Prefect server."""
    _, servers = embedded
    login = servers.account["PREFECT_API_AUTH_STRING"]
    with SyncPrefectClient(servers.prefect, auth_string=login) as api:
        yield api
