"""Checkpoints of a training on this machine: written atomically, and bound to one piece of work.

    HOME/training/*.lock             held by the one process that trains this scenario version
    HOME/training/<work>/
        epoch-000012.pt              the newest
        epoch-000011.pt              the one before, in case the newest is damaged
        epoch-000010.pt.damaged      a damaged one, set aside

A file is a line with the sha256 of the rest, then plain tensors and values of `torch.save`, which
are read without running code. It is written under another name, flushed to disk and renamed: after
a power cut, the folder contains the previous or the new file, complete.
"""

import fcntl
import hashlib
import io
import json
import logging
import os
import pickle
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from guardianflow.errors import DiskFull
from guardianflow.machine.disk import remove_drafts, write_whole

_MAGIC = b"guardianflow checkpoint 1 "
_KEPT = 2
_PAUSE_S = 0.5
_ABANDONED_S = 30 * 24 * 3600
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an epoch.

    Attributes:
        epoch: Number of finished epochs.
        state: Plain tensors and values.
    """

    epoch: int
    state: Mapping[str, object]


class Checkpoints:
    """The checkpoints of one piece of work, in a folder that is created with the first of them.

    Checkpoints of work with another identity are refused.
    """

    def __init__(self, folder: Path, work: str) -> None:
        self.folder = folder
        self.work = work

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint atomically, and remove all but the last two.

        Raises:
            DiskFull: The disk is full; the message names the last kept epoch.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_drafts(self.folder)
        path = self.path(checkpoint.epoch)
        buffer = io.BytesIO()
        content = {"work": self.work, "epoch": checkpoint.epoch, "state": dict(checkpoint.state)}
        torch.save(content, buffer)
        payload = buffer.getbuffer()
        head = _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n"
        try:
            write_whole(path, head, payload)
        except DiskFull as error:
            raise error.keeping(self._safe()) from error
        for old in self._files()[_KEPT:]:
            old.unlink(missing_ok=True)
        return path

    def adopt(self, file: Path, epoch: int) -> None:
        """Copy a checkpoint from elsewhere into the folder; `load` validates it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.path(epoch), file.read_bytes())

    def load(self) -> Checkpoint | None:
        """Return the newest usable checkpoint; set damaged or foreign ones aside with a warning."""
        for path in self._files():
            try:
                return self._read(path)
            except (OSError, ValueError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
                aside = path.with_name(f"{path.name}.damaged")
                log.warning(
                    "checkpoint %s cannot be used (%s); set aside as %s", path, error, aside
                )
                path.replace(aside)
        return None

    def _safe(self) -> str:
        if epoch := self.newest_epoch():
            return f"Epoch {epoch} is kept in {self.folder}; the training continues after it."
        return "No epoch was kept yet, and nothing was registered."

    def newest_epoch(self) -> int:
        """Return the epoch in the name of the newest file, valid or not; 0 if there is none."""
        files = self._files()
        return _epoch(files[0]) if files else 0

    def path(self, epoch: int) -> Path:
        """Return the path of the checkpoint of an epoch, whether or not it exists."""
        return self.folder / f"epoch-{epoch:06d}.pt"

    def remove(self) -> None:
        """Remove all checkpoints, once the work is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        """The files, newest first, without drafts of killed processes."""
        return sorted(self.folder.glob("epoch-*.pt"), reverse=True)

    def _read(self, path: Path) -> Checkpoint:
        head, _, payload = path.read_bytes().partition(b"\n")
        if head != _MAGIC + hashlib.sha256(payload).hexdigest().encode():
            raise ValueError("its content does not have the sha256 in its first line")
        content = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        if content["work"] != self.work:
            raise ValueError(f"it belongs to other work ({content['work']})")
        return Checkpoint(int(content["epoch"]), cast("Mapping[str, object]", content["state"]))


def work_identity(*parts: object) -> str:
    """Return the identity of a piece of work: its parts as JSON, the code, torch's version."""
    code = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        code.update(file.read_bytes())
    content = json.dumps([*parts, torch.__version__, code.hexdigest()], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def remove_abandoned(parent: Path) -> None:
    """Remove checkpoints that were not touched for 30 days."""
    for folder in parent.glob("*"):
        if folder.is_dir() and time.time() - folder.stat().st_mtime > _ABANDONED_S:
            log.info("removing checkpoints that were not touched for 30 days: %s", folder)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sole_process(lock: Path, on_wait: Callable[[str], None]) -> Generator[None]:
    """Wait until no other process of this machine holds the lock, then hold it.

    The kernel releases the lock if its process dies; the file stays. `on_wait` is called repeatedly
    with the current holder, and may raise to give up.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+", encoding="utf-8") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                stream.seek(0)
                on_wait(stream.read().strip() or "another process")
                time.sleep(_PAUSE_S)
        stream.truncate(0)
        stream.write(f"process {os.getpid()}")
        stream.flush()
        yield


def _epoch(path: Path) -> int:
    return int(path.stem.removeprefix("epoch-"))
