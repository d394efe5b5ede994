"""Submits a pass of `reconcile` when something has changed, which a few cheap requests show.

    listing of all models · newest reports · promotions · edited blocks --> one fingerprint
         same as before -----> nothing is written
         another ------------> a pass at once, and one more a minute later
         the pass did not end well --> another, until two have

Why two passes: Prefect cancels a pass while another one is at work, which may have begun before the
change. And what was still under way in the first, or was left to an event that got lost, is over by
the second. What only time brings (silence, questions that end) is seen by every pass over all
releases; what no listing shows, by the passes that Prefect schedules. Where one of these was
cancelled, ours takes over what it was to look at. A server that went away is a change, too: the
pass that fails reports it.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger

from blocks.approval_policy import POLICY_DOCUMENT
from blocks.mlflow_credentials import DEFAULT_DOCUMENT, MlflowCredentials
from blocks.saved import default_credentials
from deployments.processes import MARK, trim_logs
from guardianflow.errors import GuardianflowError, RegistryUnavailable
from guardianflow.health.box_reports import next_unjudged
from guardianflow.health.report import VERDICT_TAG, find_reports
from guardianflow.health.verdict import Verdict
from guardianflow.mlflow_store.client import check_that_it_works, connect
from guardianflow.mlflow_store.registered_models import list_models
from guardianflow.monitoring.reconciliation import PASS_EVERY, turn_of
from guardianflow.prefect_api.client import open_client
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.prefect_yaml import RECONCILE

EVERY_S = 15.0
"""Seconds between two looks: an alias moved by hand has to be reported within a minute."""
AGAIN_S = 60.0
"""Seconds from a change to the second pass: longer than an unfinished operation is left alone."""
_PART = 20
"""Looking takes about one twentieth of the time, however many models there are ..."""
_LONGEST_S = 30.0
"""... but there is a look at least this often, to report moves by hand within a minute."""
_PATIENCE_S = 60.0
"""Seconds for the requests to MLflow, whose own client would retry for four minutes."""
_GIVEN_UP_S = PASS_EVERY.total_seconds()
"""Seconds after which a change is left to the scheduled passes."""
_CANCELLED = "Cancelled"
_TOLD = (GuardianflowError, MlflowException)
"""Errors that say something about MLflow, and are no defect of ours."""

log = get_logger("watcher")


@dataclass(frozen=True)
class _Change:
    """A change that two passes, submitted after it, have not yet handled.

    Attributes:
        run: The flow run that was submitted last.
        due: When to look at the state of that run.
        until: When to stop waiting for its end.
        second: Whether the first pass has ended well.
        tries: How many passes did not end well.
        failed: How many of those failed or crashed.
    """

    run: str
    due: float
    until: float
    second: bool = False
    tries: int = 0
    failed: int = 0


class Watcher:
    """Compares what the servers answer with what they answered before."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._blocks: list[Any] | None = None
        self._credentials: MlflowCredentials | None = None
        self._seen = ""
        self._change: _Change | None = None
        self.trouble = ""
        """Why MLflow could not be looked at; '' if it could."""

    def look(self, now: float) -> str | None:
        """Look once, and submit a pass if something has changed; say why, None if nothing has.

        `now` is in seconds, on any clock that only goes forward.

        Raises:
            OrchestratorUnavailable: The Prefect server does not answer: the next look tries again.
        """
        seen = self._fingerprint()
        if seen != self._seen:
            if run := self._submit(seen):
                self._seen = seen
                self._change = _Change(run, now + AGAIN_S, now + _GIVEN_UP_S)
                return "changed"
        elif self._change is not None and now >= self._change.due:
            return self._go_on(self._change, now)
        return None

    def _go_on(self, change: _Change, now: float) -> str | None:
        """Look at the pass that was submitted last, and submit the next one."""
        run = self._orchestrator.find_all([change.run]).get(change.run)
        if run is not None and not run.final:
            if now >= change.until:
                self._change = None
            return None
        well = run is not None and run.ok
        # While MLflow is away no pass can end well; its return is a change.
        if (well and change.second) or (self.trouble and not well):
            self._change = None
            return None
        second = change.second or well
        tries = change.tries + (not well)
        failed = change.failed + (not well and run is not None and run.state != _CANCELLED)
        submitted = self._submit(f"{self._seen}-{second}-{tries}")
        if submitted is None:
            return None
        wait = min(AGAIN_S * 2**failed, _GIVEN_UP_S)
        self._change = _Change(
            submitted, now + wait, now + wait + _GIVEN_UP_S, second, tries, failed
        )
        return "again"

    def _fingerprint(self) -> str:
        waiting = self._orchestrator.undecided()
        blocks = self._edited_blocks()
        if blocks != self._blocks:
            self._blocks, self._credentials = blocks, None
        said = json.dumps([waiting, blocks, self._models_and_reports()], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def _edited_blocks(self) -> list[Any]:
        """When the blocks were last edited that hold MLflow's address and who may approve."""
        wanted = {"block_documents": {"name": {"any_": [DEFAULT_DOCUMENT, POLICY_DOCUMENT]}}}
        with open_client(self._orchestrator.api_url) as client:
            path = cast("Any", "/block_documents/filter")
            found = client.request("POST", path, json=wanted).json()
        return sorted([one["name"], one["updated"]] for one in found)

    def _models_and_reports(self) -> list[Any]:
        try:
            if self._credentials is None:
                # Kept, because Prefect stores an event for each loading of a block.
                self._credentials = default_credentials()
                self._credentials.activate()
            check_that_it_works(self._credentials.tracking_uri)
            client = connect(self._credentials.tracking_uri)
            said = _within(_PATIENCE_S, lambda: _said_by(client))
            self.trouble = ""
            return said
        except _TOLD as error:
            # The fingerprint only says that MLflow failed; the pass finds out how.
            trouble = f"MLflow cannot be looked at: {error}"
            if trouble != self.trouble:
                log.warning("%s", trouble)
            self.trouble = trouble
            return [type(error).__name__]

    def _submit(self, key: str) -> str | None:
        """Submit one pass, however many workers watch: they use the same key. None: no pass."""
        with open_client(self._orchestrator.api_url) as client:
            try:
                deployment = client.read_deployment_by_name(RECONCILE)
            except ObjectNotFound:
                # Nothing has been applied to this server yet.
                return None
            if deployment.paused or not any(one.active for one in deployment.schedules):
                # Somebody has switched it off, which doctor reports.
                return None
            # Comparing the bytes of files, a few releases a turn, is left to scheduled passes.
            lost = _turn_was_lost(client, str(deployment.id))
        minute = int(time.time() // AGAIN_S)
        given = {} if lost else {"files": "size"}
        return self._orchestrator.submit(RECONCILE, given, idempotency_key=f"{key}-{minute}").id


def _said_by(client: MlflowClient) -> list[Any]:
    models = [[m.name, dict(m.aliases), dict(m.tags)] for m in list_models(client)]
    failing = find_reports(client, {VERDICT_TAG: Verdict.FAILING.value}, limit=1)
    return [models, next_unjudged(client), [run.info.run_id for run in failing]]


def _within(patience_s: float, ask: Callable[[], list[Any]]) -> list[Any]:
    """The answer if it comes in time; one that comes later is dropped."""
    answer = Future[list[Any]]()

    def wait() -> None:
        try:
            answer.set_result(ask())
        except _TOLD as error:
            answer.set_exception(error)
        finally:
            # After any other error nobody may wait for an answer.
            answer.cancel()

    # Not from a pool, for which the end of the process would wait.
    threading.Thread(target=wait, name="watcher asks", daemon=True).start()
    try:
        return answer.result(patience_s)
    except TimeoutError as error:
        raise RegistryUnavailable(
            f"MLflow has not said within {patience_s:.0f} s what it holds.",
            remedy="Its log says why.",
        ) from error


def _turn_was_lost(client: SyncPrefectClient, deployment_id: str) -> bool:
    """Whether the pass for this turn's releases was cancelled, and no other one replaced it."""
    now = datetime.now(UTC)
    begin = datetime.fromtimestamp(turn_of(now) * PASS_EVERY.total_seconds(), UTC)
    wanted = {
        "flow_runs": {
            "deployment_id": {"any_": [deployment_id]},
            "expected_start_time": {"after_": begin.isoformat(), "before_": now.isoformat()},
        }
    }
    runs = client.request("POST", cast("Any", "/flow_runs/filter"), json=wanted).json()
    states = {
        run["state_type"]
        for run in runs
        if not (run["parameters"].get("files") or run["parameters"].get("model_name"))
    }
    return states == {"CANCELLED"}


def look_once(watcher: Watcher) -> float:
    """Trim the logs and look, whatever fails; return the seconds to wait until the next time."""
    try:
        if state_dir := os.environ.get(MARK):
            trim_logs(Path(state_dir) / "logs")
    except Exception:
        log.warning("the logs could not be cut", exc_info=True)
    began = time.monotonic()
    try:
        watcher.look(began)
    except Exception:
        # Nothing may end this thread, because the worker beside it would still look well.
        log.warning("the servers could not be watched", exc_info=True)
        return EVERY_S
    if watcher.trouble:
        # Its return is to be noticed at once.
        return EVERY_S
    return min(max(EVERY_S, _PART * (time.monotonic() - began)), _LONGEST_S)


def start_watching(orchestrator: Orchestrator) -> None:
    """Look for ever, in a thread that ends with the process."""
    watcher = Watcher(orchestrator)

    def watch() -> None:
        while True:
            time.sleep(look_once(watcher))

    threading.Thread(target=watch, name="watcher", daemon=True).start()
