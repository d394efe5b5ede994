"""Resumes a training where a killed process left it, on this machine or on another.

    run A  RUNNING, killed     checkpoint/epoch-000012.pt, tag checkpoint = 12, every few minutes
    run B  started again       takes the newest checkpoint of its work: this machine's, or A's
                               A: KILLED, continued_by = B        B: continues = A
    run B  FINISHED            the checkpoints of A and B are removed

Each attempt has its own run, written by one process: two machines that train the same at once never
mix their curves. A run that resumes logs the earlier figures again, with their times, so that its
curves are complete (decision 0011).
"""

import logging
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from requests import HTTPError

from guardianflow.errors import GuardianflowError, RegistryUnavailable, VersionNotReady
from guardianflow.machine.disk import scratch
from guardianflow.machine.servers import home
from guardianflow.mlflow_store.client import border
from guardianflow.mlflow_store.runs import OpenRun
from guardianflow.mlflow_store.same_work import WORK_DIGEST_TAG, find_runs, first_work, same_work
from guardianflow.progress import Reporter
from guardianflow.scenario import Scenario, TrainingSettings
from guardianflow.vision.network.checkpoint import Checkpoints
from guardianflow.vision.network.detector import Detector
from guardianflow.vision.network.fitting import FittedDetector, fit
from guardianflow.vision.network.history import EpochFigures

WORK_TAG = "guardianflow.work"
_OWNER_TAG = "guardianflow.owner"
CHECKPOINT_TAG = "guardianflow.checkpoint"
CONTINUES_TAG = "guardianflow.continues"
CONTINUED_BY_TAG = "guardianflow.continued_by"
_FOLDER = "checkpoint"
_EVERY_S = 180.0
# Uploads may take at most a twentieth of the training's time.
_PAUSE_PER_COST = 20.0
_MOST_RUNS = 50
log = logging.getLogger(__name__)


def owner() -> str:
    """Return who writes a run; of one owner, only the holder of the work's lock is alive."""
    return f"{socket.gethostname()}:{home()}"


@dataclass(frozen=True)
class Continuation:
    """What earlier attempts at a piece of work left in MLflow.

    Their runs are there newest first; none is FINISHED. Runs of other code are included: they are
    closed, but their checkpoints are not used.
    """

    client: MlflowClient
    work: str
    attempts: Sequence[Run]

    @classmethod
    def find(
        cls, client: MlflowClient, scenario: Scenario, tags: Mapping[str, str], work: str
    ) -> "Continuation":
        """Find earlier attempts: runs with these tags."""
        found = runs_with(client, scenario, tags)
        return cls(client, work, [run for run in found if run.info.status != "FINISHED"])

    def fetch(self, checkpoints: Checkpoints) -> None:
        """Fetch the newest checkpoint if an attempt on another machine got further."""
        for epoch, run in sorted(self._mirrored(), key=lambda pair: pair[0], reverse=True):
            if epoch <= checkpoints.newest_epoch():
                return
            run_id, name = run.info.run_id, checkpoints.path(epoch).name
            try:
                with border(f"checkpoint of run {run_id}"), scratch() as folder:
                    file = self.client.download_artifacts(run_id, f"{_FOLDER}/{name}", str(folder))
                    checkpoints.adopt(Path(file), epoch)
            except (VersionNotReady, MlflowException, HTTPError, OSError) as error:
                log.warning("the checkpoint of run %s cannot be fetched: %s", run_id, error)
            else:
                log.info("fetched the checkpoint of epoch %d from run %s", epoch, run_id)

    def tags(self) -> dict[str, str]:
        """Return the tags of the run that resumes the work."""
        tags = {WORK_TAG: self.work, _OWNER_TAG: owner()}
        if self.attempts:
            tags[CONTINUES_TAG] = self.attempts[0].info.run_id
        return tags

    def take_over(self, run_id: str) -> None:
        """Mark earlier attempts as continued by this run; end those that died here as KILLED."""
        for run in self.attempts:
            with border(f"run {run.info.run_id}"):
                if CONTINUED_BY_TAG not in run.data.tags:
                    self.client.set_tag(run.info.run_id, CONTINUED_BY_TAG, run_id)
                # Another machine may still be training: its run is closed when the work is done.
                if run.data.tags.get(_OWNER_TAG) == owner():
                    _close(self.client, run)

    def _mirrored(self) -> list[tuple[int, Run]]:
        mine = [run for run in self.attempts if run.data.tags.get(WORK_TAG) == self.work]
        tags = [(run.data.tags.get(CHECKPOINT_TAG, ""), run) for run in mine]
        return [(int(text), run) for text, run in tags if text.isdecimal()]


def fit_in_run(
    run: OpenRun,
    settings: TrainingSettings,
    checkpoints: Checkpoints,
    start: Detector | None,
    report: Reporter,
) -> tuple[FittedDetector, int]:
    """Train on the run's data set, or resume from the newest checkpoint.

    The run receives the figures and, every few minutes, the newest checkpoint.

    Returns:
        The detector, and the epoch after which the training resumed (0: from the start).

    Raises:
        KeyboardInterrupt: Interrupted; the message says how many epochs are kept.
        DatasetInvalid: An image can no longer be read.
        RegistryUnavailable: MLflow does not answer at the end; all epochs are kept.
    """
    dataset, epochs, latest, resumed_at = run.dataset, settings.epochs, "", 0
    curves, mirror = _Curves(run), _CheckpointCopies(run.client, run.run_id, checkpoints)

    def on_resume(history: Sequence[EpochFigures]) -> None:
        nonlocal resumed_at
        resumed_at = len(history)
        remark = f"resumed at epoch {resumed_at} of {epochs}"
        log.info(remark)
        report("resume", resumed_at, epochs, remark=remark)
        curves.add(*history)

    def on_epoch(figures: EpochFigures) -> None:
        nonlocal latest
        latest = figures.describe()
        curves.add(figures)
        mirror.keep()
        log.info("epoch %d of %d: %s", figures.epoch, epochs, latest)

    try:
        fitted = fit(
            settings,
            dataset.samples("train"),
            dataset.samples("val"),
            dataset.classes,
            start=start,
            checkpoints=checkpoints,
            on_resume=on_resume,
            on_step=lambda done, total: report("train", done, total, latest),
            on_epoch=on_epoch,
        )
    except KeyboardInterrupt as stop:
        mirror.keep(now=True)
        done = f"Interrupted; {checkpoints.newest_epoch()} of {epochs} epochs are kept."
        raise KeyboardInterrupt(done) from stop
    curves.send()
    run.log_params({"device_used": fitted.device, "best_epoch": fitted.best_epoch})
    return fitted, resumed_at


class _CheckpointCopies:
    """Copies checkpoints to their run, rarely enough to cost next to nothing."""

    def __init__(self, client: MlflowClient, run_id: str, checkpoints: Checkpoints) -> None:
        self._client, self._run_id, self._checkpoints = client, run_id, checkpoints
        self._due = time.monotonic() + _EVERY_S
        self._epoch = 0

    def keep(self, *, now: bool = False) -> None:
        """Copy the newest checkpoint if it is due, or `now`; a failure is only logged."""
        epoch, began = self._checkpoints.newest_epoch(), time.monotonic()
        if epoch <= self._epoch or not (now or began >= self._due):
            return
        try:
            self._copy(epoch)
        except (GuardianflowError, MlflowException, HTTPError, OSError) as error:
            log.warning("the checkpoint of epoch %d is only on this machine: %s", epoch, error)
        ended = time.monotonic()
        self._due = ended + max(_EVERY_S, _PAUSE_PER_COST * (ended - began))

    def _copy(self, epoch: int) -> None:
        path, former = self._checkpoints.path(epoch), self._epoch
        with border(f"checkpoint of run {self._run_id}"):
            self._client.log_artifact(self._run_id, str(path), _FOLDER)
            # The tag comes last, so that a partial file is never used.
            self._client.set_tag(self._run_id, CHECKPOINT_TAG, str(epoch))
            self._epoch = epoch
            if former:
                name = self._checkpoints.path(former).name
                _delete(self._client, self._run_id, f"{_FOLDER}/{name}")


class _Curves:
    """Sends the figures of epochs to a run, and sends again later what MLflow did not accept."""

    def __init__(self, run: OpenRun) -> None:
        self._run = run
        self._waiting: list[EpochFigures] = []

    def add(self, *figures: EpochFigures) -> None:
        """Send these figures too; that the server does not answer is only logged."""
        self._waiting += figures
        try:
            self.send()
        except RegistryUnavailable as error:
            log.warning("the figures of %d epochs wait: %s", len(self._waiting), error)

    def send(self) -> None:
        """Send all waiting figures.

        Raises:
            RegistryUnavailable: MLflow does not answer.
        """
        while self._waiting:
            one = self._waiting[0]
            # Logged again with the same time, a figure stays one point of the curve.
            self._run.log_metrics(one.metrics(), step=one.epoch, time_ms=one.ended_ms)
            if one.val:
                figures = one.val.metrics("val.")
                self._run.log_metrics(figures, step=one.epoch, split="val", time_ms=one.ended_ms)
            del self._waiting[0]


def clean_up(client: MlflowClient, scenario: Scenario, tags: Mapping[str, str]) -> None:
    """Remove the checkpoints of finished work from MLflow and close its open runs.

    A failure is only logged: the model is kept, and the next command tries again.
    """
    try:
        for run in runs_with(client, scenario, tags):
            with border(f"run {run.info.run_id}"):
                if CHECKPOINT_TAG in run.data.tags:
                    _delete(client, run.info.run_id, _FOLDER)
                    client.delete_tag(run.info.run_id, CHECKPOINT_TAG)
                _close(client, run)
    except (GuardianflowError, MlflowException, HTTPError) as error:
        log.warning("checkpoints of finished work are left in MLflow: %s", error)


def runs_with(client: MlflowClient, scenario: Scenario, tags: Mapping[str, str]) -> list[Run]:
    """Return the runs of this work in the scenario's experiment, newest first."""
    mine, found = tags.get(WORK_DIGEST_TAG, ""), dict[str, Run]()
    for wanted in (same_work(tags), first_work(tags)):
        for run in find_runs(client, scenario, wanted, finished=False, limit=_MOST_RUNS):
            # Where a run has a digest of the work, the digest decides.
            if run.data.tags.get(WORK_DIGEST_TAG, mine) == mine:
                found[run.info.run_id] = run
    return sorted(found.values(), key=lambda run: run.info.start_time, reverse=True)


def _close(client: MlflowClient, run: Run) -> None:
    """End the run of a process that was killed before it could."""
    if run.info.status == "RUNNING":
        client.set_terminated(run.info.run_id, "KILLED")


def _delete(client: MlflowClient, run_id: str, path: str) -> None:
    uri = client.get_run(run_id).info.artifact_uri or ""
    get_artifact_repository(uri, tracking_uri=client.tracking_uri).delete_artifacts(path)
