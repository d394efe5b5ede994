"""Waits until servers answer and workers poll; where one does not, its log says why."""

import json
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from deployments.processes import ProcessRecord
from deployments.state import State
from guardianflow.errors import ServerUnreachable

START_TIMEOUT_S = 180.0
Say = Callable[[str], None]


def wait_for_server(state: State, name: str, url: str, say: Say) -> None:
    """Wait until a server answers at an address, and say so.

    Raises:
        ServerUnreachable: It ended, or does not answer in time; the message names its log.
    """
    record = state.pids[name]
    started = time.monotonic()
    told = 0.0
    while not (_answers(url) and record.process()):
        waited = time.monotonic() - started
        if record.process() is None:
            raise _not_up(record, "ended by itself")
        if waited > START_TIMEOUT_S:
            raise _not_up(record, f"did not answer {url} within {START_TIMEOUT_S:.0f} s")
        if waited - told >= 5:
            told = waited
            say(f"  waiting for {name} ({waited:.0f} s) ...")
        time.sleep(0.2)
    say(f"  {name:<8} {url.removesuffix('/health').removesuffix('/api')}")


def wait_for_workers(state: State, pools: Iterable[str], env: Mapping[str, str], say: Say) -> None:
    """Wait until the worker of each pool polls it; flow runs would otherwise look stuck.

    Raises:
        ServerUnreachable: One ended, or does not come online; the message names its log.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    for pool in pools:
        record = state.pids[f"worker {pool}"]
        while not _worker_online(env, pool, since=record.created):
            if record.process() is None:
                raise _not_up(record, "ended by itself")
            if time.monotonic() > deadline:
                raise _not_up(record, "did not come online")
            time.sleep(0.2)
        say(f"  {record.name} is online")


def _worker_online(env: Mapping[str, str], pool: str, *, since: float) -> bool:
    """Whether the pool's worker has sent a heartbeat since then; a dead one looks online too."""
    login = b64encode(env["PREFECT_API_AUTH_STRING"].encode()).decode()
    request = urllib.request.Request(
        f"{env['PREFECT_API_URL']}/work_pools/{pool}/workers/filter",
        data=b"{}",
        headers={"Content-Type": "application/json", "Authorization": f"Basic {login}"},
    )
    with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(request, timeout=5) as a:
        beats = [worker["last_heartbeat_time"] for worker in json.load(a)]
        return any(beat and datetime.fromisoformat(beat).timestamp() > since for beat in beats)
    return False


def _answers(url: str) -> bool:
    with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status == 200
    return False


def _not_up(record: ProcessRecord, what: str) -> ServerUnreachable:
    tail = "\n".join(Path(record.log).read_text(errors="replace").splitlines()[-15:])
    return ServerUnreachable(
        f"{record.name} {what}. The end of {record.log}:\n{tail}\n",
        remedy="Mend that, then run `make up` again; `make down` ends what is left.",
        log=record.log,
    )
