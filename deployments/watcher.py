"""Sees by a few cheap requests whether a pass of `reconcile` is needed, and only then submits one.

    listing of all models · newest reports · waiting questions · edited blocks --> one fingerprint
         same as before -----> nothing is written
         another ------------> a pass at once, and one more a minute later

What was under way at first, or was left to an event that got lost, is over by the second pass. What
time alone brings (silence, questions that end) and what no listing shows comes with the passes that
Prefect schedules. A server that went away is a change as well: the pass that fails says so.
"""

import hashlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any, cast

from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger

from blocks.approval_policy import POLICY_DOCUMENT
from blocks.mlflow_credentials import DEFAULT_DOCUMENT, MlflowCredentials
from deployments.processes import MARK, trim_logs
from guardianflow.catalog.models import list_models
from guardianflow.connection import connect
from guardianflow.errors import GuardianflowError
from guardianflow.health.box import next_unjudged
from guardianflow.health.report import VERDICT_TAG, find_reports
from guardianflow.health.verdict import Verdict
from guardianflow.orchestration.connection import open_client
from guardianflow.orchestration.control import Orchestrator
from guardianflow.orchestration.machinery import RECONCILE

EVERY_S = 15.0
"""Between two looks; an alias that was moved by hand is to be told within a minute."""
AGAIN_S = 60.0
"""After a change, until the second pass: longer than an operation is left to whoever made it."""
_PART = 20
"""Looking takes no more than one part in so many of the time, however many models there are."""

log = get_logger("watcher")


class Watcher:
    """Compares what the servers say with what they said before.

    Args:
        orchestrator: The Prefect server, which knows where MLflow is.
    """

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._blocks: list[Any] | None = None
        self._credentials: MlflowCredentials | None = None
        self._seen = ""
        self._again: float | None = None
        self._trouble = ""

    def look(self, now: float) -> str | None:
        """Look once, and submit a pass where something has changed.

        Args:
            now: Seconds on any clock that only goes forward.

        Returns:
            Why a pass was submitted; None where none was.

        Raises:
            OrchestratorUnavailable: The Prefect server does not answer: the next look tries again.
        """
        seen = self._fingerprint()
        if seen != self._seen and self._submit(seen):
            self._seen, self._again = seen, now + AGAIN_S
            return "changed"
        if self._again is not None and now >= self._again and self._submit(f"{seen}-again"):
            self._again = None
            return "again"
        return None

    def _fingerprint(self) -> str:
        waiting = sorted(one.flow_run_id for one in self._orchestrator.pending())
        blocks = self._edited_blocks()
        if blocks != self._blocks:
            self._blocks, self._credentials = blocks, None
        said = json.dumps([waiting, blocks, self._models_and_reports()], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def _edited_blocks(self) -> list[Any]:
        """When the blocks were last edited that say where MLflow is, and who may approve."""
        wanted = {"block_documents": {"name": {"any_": [DEFAULT_DOCUMENT, POLICY_DOCUMENT]}}}
        with open_client(self._orchestrator.api_url) as client:
            path = cast("Any", "/block_documents/filter")
            found = client.request("POST", path, json=wanted).json()
        return sorted([one["name"], one["updated"]] for one in found)

    def _models_and_reports(self) -> list[Any]:
        try:
            if self._credentials is None:
                # Each time it is loaded is an event that Prefect keeps.
                loaded = MlflowCredentials.load(DEFAULT_DOCUMENT)
                self._credentials = cast("MlflowCredentials", loaded)
                self._credentials.activate()
            client = connect(self._credentials.tracking_uri)
            models = [[m.name, dict(m.aliases), dict(m.tags)] for m in list_models(client)]
            failing = find_reports(client, {VERDICT_TAG: Verdict.FAILING.value}, limit=1)
            self._trouble = ""
            return [models, next_unjudged(client), [run.info.run_id for run in failing]]
        except (GuardianflowError, ValueError) as error:
            # That it cannot be asked is what is known of it; how, the pass finds out.
            self._say(f"MLflow cannot be looked at: {error}")
            return [type(error).__name__]

    def _submit(self, key: str) -> bool:
        """Submit one pass, however many workers do: the key is the same for all; whether it was."""
        with open_client(self._orchestrator.api_url) as client:
            try:
                deployment = client.read_deployment_by_name(RECONCILE)
            except ObjectNotFound:
                # Nothing was brought to this server yet.
                return False
        if deployment.paused or not any(one.active for one in deployment.schedules):
            # Somebody has switched it off, which doctor says.
            return False
        # Whose turn it is to have its bytes compared is left to the passes of the schedule.
        minute = int(time.time() // AGAIN_S)
        self._orchestrator.submit(RECONCILE, {"files": "size"}, idempotency_key=f"{key}-{minute}")
        return True

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("%s", trouble)


def watch(orchestrator: Orchestrator) -> None:
    """Look for ever, in this thread."""
    watcher = Watcher(orchestrator)
    while True:
        began = time.monotonic()
        try:
            if state_dir := os.environ.get(MARK):
                trim_logs(Path(state_dir) / "logs")
            watcher.look(began)
        except Exception:
            # Nothing may end this thread: the worker beside it would look well.
            log.warning("the servers could not be watched", exc_info=True)
        time.sleep(max(EVERY_S, _PART * (time.monotonic() - began)))


def start_watching(orchestrator: Orchestrator) -> None:
    """Watch in a thread that ends with the process."""
    threading.Thread(target=watch, args=(orchestrator,), name="watcher", daemon=True).start()
