"""Starts and ends background processes; nothing else here signals other processes.

A process is ours only while the recorded pid still has the recorded start time: pids are reused.
What a killed parent left behind is found by a mark in the environment, which children inherit.
"""

import os
import random
import signal
import socket
import subprocess
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil

from guardianflow.machine.polling import look_until
from guardianflow.machine.private import append_to, private_folder, write_private
from guardianflow.machine.servers import recorded_process

MARK = "GUARDIANFLOW_STATE_DIR"
# Below the ports of outgoing connections: one of those could take the port of a server that is down
# for a moment.
_PORTS = range(20_000, 32_768)


@dataclass(frozen=True)
class ProcessRecord:
    """One process that we started, which is recognized even after our own end."""

    name: str
    pid: int
    """Its process id, which is also its process group."""
    created: float
    """Its start time in seconds since the epoch, as the system reports it."""
    log: str

    def process(self) -> psutil.Process | None:
        """The running process; None if it ended, or its pid now belongs to another one."""
        return recorded_process(self.pid, self.created)

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "ProcessRecord":
        """Read one that any version wrote; unknown keys are ignored."""
        return cls(**{field.name: content[field.name] for field in fields(cls)})


def spawn(
    name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
) -> ProcessRecord:
    """Start a background process in a group of its own; its output goes to `log`."""
    private_folder(log.parent)
    with append_to(log) as output, _interruptible():
        child = subprocess.Popen(
            command,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return ProcessRecord(name, child.pid, psutil.Process(child.pid).create_time(), str(log))


def trim_logs(folder: Path, limit: int = 8 * 2**20) -> None:
    """Cut every log that has grown beyond `limit` bytes; its last part is kept as NAME.1.

    Its writer need not know: the file is open for appending, so it goes on at the new end.
    """
    for log in folder.glob("*.log"):
        if log.is_symlink() or log.stat().st_size <= limit:
            continue
        with log.open("r+b") as file:
            file.seek(-limit // 2, os.SEEK_END)
            write_private(log.with_name(f"{log.name}.1"), file.read())
            file.truncate(0)


@contextmanager
def _interruptible() -> Generator[None, None, None]:
    """Let children be interruptible even if we were started with `&`, which ignores SIGINT.

    A child inherits an ignored signal, and a Prefect worker would then never stop.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def end(processes: Sequence[psutil.Process], *, grace_s: float = 10.0) -> None:
    """Ask processes to end, and kill those that still run after `grace_s` seconds."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    left = _still_running(processes, grace_s)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _still_running(left, grace_s)


def _still_running(processes: Sequence[psutil.Process], grace_s: float) -> list[psutil.Process]:
    """Wait until processes have ended, and return those that have not."""
    return look_until(
        lambda: [process for process in processes if _runs(process)],
        lambda left: not left,
        every_s=0.05,
        timeout_s=grace_s,
    )


def _runs(process: psutil.Process) -> bool:
    # Our own dead children stay zombies until they are waited for.
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def marked(state_dir: Path) -> list[psutil.Process]:
    """All processes of this user that were started for `state_dir`, grandchildren included."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.pid not in own and process.environ().get(MARK) == str(state_dir):
                found.append(process)
    return found


def strays(state_dir: Path, records: Iterable[ProcessRecord]) -> list[psutil.Process]:
    """The processes of `state_dir` that no recorded, living process started."""
    kept: set[int] = set()
    for record in records:
        with suppress(psutil.NoSuchProcess):
            if parent := record.process():
                kept |= {parent.pid, *(child.pid for child in parent.children(recursive=True))}
    return [process for process in marked(state_dir) if process.pid not in kept]


def free_port(wanted: int | None = None, *, patience_s: float = 5.0) -> int:
    """A port of the loopback interface that nobody listens on; the wanted one if it becomes free.

    It is waited for: a killed process counts as dead before its last thread gives up the port.
    """
    if wanted is not None and look_until(
        lambda: _is_free(wanted), every_s=0.1, timeout_s=patience_s
    ):
        return wanted
    for port in random.sample(_PORTS, 100):
        if _is_free(port):
            return port
    raise OSError("no free port on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False
