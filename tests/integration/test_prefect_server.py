"""The embedded Prefect server on SQLite, with many who write at once."""

import asyncio
from collections import Counter

import httpx

from deployments.local import PREFECT_SERVER
from testbed.servers import prefect_server_on

REQUESTS = 10


async def made(client: httpx.AsyncClient, path: str, content: dict[str, str]) -> str:
    """The id of something new."""
    answer = await client.post(path, json=content)
    answer.raise_for_status()
    return answer.json()["id"]


async def statuses(address: str) -> Counter[int]:
    """How a server answers requests for flow runs that come all at once, each sent once."""
    async with httpx.AsyncClient(base_url=f"{address}/api", timeout=60) as client:
        flow = await made(client, "/flows/", {"name": "crowd"})
        deployment = await made(client, "/deployments/", {"name": "crowd", "flow_id": flow})
        path = f"/deployments/{deployment}/create_flow_run"
        answers = await asyncio.gather(*(client.post(path, json={}) for _ in range(REQUESTS)))
        return Counter(answer.status_code for answer in answers)


def test_hardly_a_request_is_refused_by_a_busy_sqlite(tmp_path):
    # Prefect's own server refuses nearly all of them, which its clients repeat after seconds.
    with prefect_server_on(tmp_path, {}, PREFECT_SERVER) as address:
        answers = asyncio.run(statuses(address))
    assert answers[201] + answers[503] == REQUESTS
    assert answers[201] > REQUESTS / 2
