"""Waits until servers answer, workers poll and a pass ends; if one does not, its log says why."""

import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

import httpx

from deployments.processes import ProcessRecord
from deployments.state import State
from guardianflow.errors import Refused, ServerUnreachable
from guardianflow.machine.polling import look_until
from guardianflow.prefect_api.control import FlowRunInfo, Orchestrator
from guardianflow.prefect_api.prefect_yaml import RECONCILE

Say = Callable[[str], None]
_START_TIMEOUT_S = 180.0
_PASS_TIMEOUT_S = 180.0
_TELL_EVERY_S = 10.0


def with_seconds(say: Say) -> Say:
    """Add to each line how many seconds have passed since now."""
    began = time.monotonic()
    return lambda line: say(f"{line}  [{time.monotonic() - began:.0f} s]")


@contextmanager
def telling(step: str, say: Say) -> Generator[None]:
    """Say which step is under way: at once, and again every ten seconds."""
    over = threading.Event()

    def tell() -> None:
        say(f"  {step} ...")
        while not over.wait(_TELL_EVERY_S):
            say(f"  {step} ...")

    teller = threading.Thread(target=tell, name="telling", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def wait_for_server(state: State, name: str, url: str, say: Say) -> None:
    """Wait until a server answers at an address, and say so.

    Raises:
        ServerUnreachable: It ended, or does not answer in time; the message names its log.
    """
    record = state.pids[name]
    _wait(record, lambda: _answers(url), f"did not answer {url}", say)
    say(f"  {name:<8} {url.removesuffix('/health').removesuffix('/api')}")


def wait_for_workers(state: State, pools: Iterable[str], env: Mapping[str, str], say: Say) -> None:
    """Wait until the worker of each pool polls it; flow runs would otherwise look stuck.

    Raises:
        ServerUnreachable: One ended, or does not come online; the message names its log.
    """
    for pool in pools:
        record = state.pids[f"worker {pool}"]
        is_online = partial(_worker_online, env, pool, record.created)
        _wait(record, is_online, "did not come online", say)
        say(f"  {record.name} is online")


def prove_a_pass() -> None:
    """Submit one pass of `reconcile` and wait for its end: it proves that flow runs begin and end.

    Raises:
        Refused: It fails or crashes, or none ends in time.
    """
    orchestrator, began = Orchestrator(), datetime.now(UTC)
    # Where another pass is at work this one is cancelled, and the other one proves the same.
    orchestrator.submit(RECONCILE, {"files": "none"})

    def find_end() -> FlowRunInfo | None:
        last = orchestrator.last_ended("reconcile")
        return last if last and last.ended and last.ended > began else None

    ended = look_until(find_end, every_s=0.3, timeout_s=_PASS_TIMEOUT_S)
    if ended is None:
        raise Refused(
            f"No pass of `reconcile` came to its end within {_PASS_TIMEOUT_S:.0f} s.",
            remedy="`guardianflow doctor` says what keeps it.",
        )
    if not ended.ok:
        raise Refused(
            f"A pass of `reconcile` is {ended.state}: {ended.message or 'without a word'}",
            remedy=f"Its log: {ended.url}; where it is empty, that of the release worker.",
        )


def _wait(record: ProcessRecord, is_ready: Callable[[], bool], what: str, say: Say) -> None:
    """Look until a process is ready, and say that it is waited for."""

    def look() -> bool:
        ready = is_ready()
        # After the answer: it may be that of another process.
        if record.process() is None:
            raise _not_up(record, "ended by itself")
        return ready

    with telling(f"waiting for {record.name}", say):
        ready = look_until(look, every_s=0.2, timeout_s=_START_TIMEOUT_S)
    if not ready:
        raise _not_up(record, f"{what} within {_START_TIMEOUT_S:.0f} s")


@cache
def _http() -> httpx.Client:
    """One for all questions: each new one reads the system's certificates first, for 30 ms."""
    return httpx.Client(trust_env=False)


def _worker_online(env: Mapping[str, str], pool: str, since: float) -> bool:
    """Whether the pool's worker has sent a heartbeat since then; a dead one looks online too."""
    url = f"{env['PREFECT_API_URL']}/work_pools/{pool}/workers/filter"
    user, _, password = env["PREFECT_API_AUTH_STRING"].partition(":")
    with suppress(httpx.HTTPError):
        answer = _http().post(url, json={}, auth=(user, password))
        beats = [worker["last_heartbeat_time"] for worker in answer.raise_for_status().json()]
        return any(beat and datetime.fromisoformat(beat).timestamp() > since for beat in beats)
    return False


def _answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return _http().get(url).status_code == 200
    return False


def _not_up(record: ProcessRecord, what: str) -> ServerUnreachable:
    tail = "\n".join(Path(record.log).read_text(errors="replace").splitlines()[-15:])
    return ServerUnreachable(
        f"{record.name} {what}. The end of {record.log}:\n{tail}\n",
        remedy="Mend that, then run `make up` again; `make down` ends what is left.",
        log=record.log,
    )
