"""Prefect on the system's PostgreSQL, as docs/install.md has it for a plant."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient

from testbed.servers import POSTGRES, prefect_server_on, system_postgres
from tests.e2e.waiting import wait_for_an_answer

ANSWER = {"decision": "approve", "approver": "Kim Minji", "reason": "saw the pictures"}
WAITING = 24

pytestmark = pytest.mark.skipif(POSTGRES is None, reason="Debian's postgresql is not installed")


@pytest.fixture(scope="module")
def prefect(tmp_path_factory):
    """A Prefect server on PostgreSQL; its API's address."""
    folder = tmp_path_factory.mktemp("prefect")
    with (
        system_postgres() as database,
        prefect_server_on(folder, {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database}) as address,
    ):
        yield f"{address}/api"


def test_no_answer_has_to_be_sent_twice_however_busy_the_server_is(prefect):
    with SyncPrefectClient(prefect) as client:
        runs = [wait_for_an_answer(client)[0] for _ in range(WAITING)]
        flow = str(client.create_flow_from_name("busy"))
    done, written = threading.Event(), []

    def write(number):
        """What workers and flow runs do all the time; by a client that tries nothing again."""
        with httpx.Client(base_url=prefect, timeout=60) as client:
            while not done.is_set():
                made = client.post("/flow_runs/", json={"flow_id": flow, "tags": [str(number)]})
                written.append(made.status_code)

    def answer(run):
        with httpx.Client(base_url=prefect, timeout=60) as client:
            return client.post(f"/flow_runs/{run}/resume", json={"run_input": ANSWER})

    with ThreadPoolExecutor(4) as writers, ThreadPoolExecutor(8) as people:
        busy = [writers.submit(write, number) for number in range(4)]
        answers = list(people.map(answer, runs))
        done.set()
        for one in busy:
            one.result()
    assert {reply.status_code for reply in answers} <= {200, 201}, [r.text for r in answers]
    assert {reply.json()["status"] for reply in answers} == {"ACCEPT"}
    assert set(written) == {201}
    assert len(written) > 4
