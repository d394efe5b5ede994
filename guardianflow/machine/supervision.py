"""Runs a program of other people: a process group of its own, limits, its words as it says them.

    this process --pipe--> supervised --> the program and whatever it starts
        lines, clock,       the pipe is closed: this process is gone,
        memory of all        and the whole group is killed

Nothing of it outlives a run. What left the group is found by a variable that every process below it
inherits: after the run, and before the next one in the same folder.
"""

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from guardianflow.machine import supervised

_MARK = "GUARDIANFLOW_SUPERVISED_IN"
_PAUSE_S, _LOOK_S, _GRACE_S, _GONE_S = 0.5, 2.0, 5.0, 10.0
_LONGEST_LINE = 2000
_CHUNK, _LAST_CHUNKS = 65536, 64
# Colours and movements of the cursor.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-_])")


class Passed(StrEnum):
    """The limit that a program passed."""

    TIME = "time"
    MEMORY = "memory"


@dataclass(frozen=True)
class Allowance:
    """What a program may use.

    Attributes:
        memory_bytes: For each of its processes, and for all of them together.
        processors: How many of this machine's; None: all.
    """

    seconds: float
    memory_bytes: int
    processors: int | None = None


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        code: Its exit code; above 128 the number of a signal and 128.
        passed: The limit for which it was ended; None: it ended by itself.
    """

    code: int
    passed: Passed | None = None


def run_supervised(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    limits: Allowance,
    on_line: Callable[[str], None],
) -> Ended:
    """Run a program in a folder, and wait for its end; whatever it started ends with it.

    Args:
        command: The program and its arguments; no shell reads them.
        folder: Its working directory, in which only one program runs at a time.
        environment: All the variables that it gets.
        limits: What it may use.
        on_line: Called with each line that it writes, as it is written.
    """
    end_leftovers(folder)
    ours, theirs = os.pipe()
    try:
        words = [sys.executable, "-I", supervised.__file__, str(ours), str(limits.memory_bytes)]
        process = subprocess.Popen(
            [*words, str(limits.processors or 0), *command],
            cwd=folder,
            env={**environment, _MARK: str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(ours,),
            start_new_session=True,
            bufsize=0,
        )
        lines = _Lines(on_line)
        try:
            passed = _follow(process, limits, lines)
        finally:
            _end(process)
            end_leftovers(folder)
        _last_words(process, lines)
    finally:
        os.close(ours)
        os.close(theirs)
    return Ended(process.returncode, passed)


def end_leftovers(folder: Path) -> None:
    """Kill what an earlier run in this folder left behind, and wait until it is gone."""
    left: list[psutil.Process] = []
    for process in psutil.process_iter():
        # Those of other people do not show it, and are not ours.
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(_MARK) == str(folder):
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=_GONE_S)


def _follow(
    process: "subprocess.Popen[bytes]", limits: Allowance, lines: "_Lines"
) -> Passed | None:
    """Pass lines on until the program ends by itself, or passes a limit."""
    stream, until, look = _stream(process), time.monotonic() + limits.seconds, 0.0
    os.set_blocking(stream, False)
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not _has_ended(process):
            if not selector.get_map():
                time.sleep(_PAUSE_S)
            elif selector.select(_PAUSE_S) and not lines.read(stream):
                # It closed its output, and may go on.
                selector.unregister(stream)
            now = time.monotonic()
            if now >= until:
                return Passed.TIME
            if now >= look:
                look = now + _LOOK_S
                if _memory(process.pid) > limits.memory_bytes:
                    return Passed.MEMORY
    return None


def _last_words(process: "subprocess.Popen[bytes]", lines: "_Lines") -> None:
    with suppress(BlockingIOError):
        for _ in range(_LAST_CHUNKS):
            if not lines.read(_stream(process)):
                break
    lines.end()
    assert process.stdout is not None
    process.stdout.close()


def _stream(process: "subprocess.Popen[bytes]") -> int:
    assert process.stdout is not None
    return process.stdout.fileno()


class _Lines:
    """Passes bytes on as lines: of one that was written over the last, of a long one the end."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line, self._begun = on_line, b""

    def read(self, stream: int) -> bool:
        """Pass on what there is to read; whether the stream is still open."""
        said = os.read(stream, _CHUNK)
        *whole, begun = (self._begun + said).split(b"\n")
        self._begun = begun[-_CHUNK:]
        for line in whole:
            self._show(line)
        return bool(said)

    def end(self) -> None:
        """Pass on the last line, which has no end."""
        self._show(self._begun)

    def _show(self, line: bytes) -> None:
        text = _ESCAPES.sub("", line.decode("utf-8", "replace")).rstrip()
        if text := text.rpartition("\r")[2].strip("\x00")[-_LONGEST_LINE:]:
            self._on_line(text)


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it ended, without taking its exit code: until then nobody else gets its number."""
    # `os.waitid` would do, but macOS lacks it.
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    return True


def _memory(leader: int) -> int:
    """The memory of a process and all below it in bytes; what they share is counted once."""
    total = 0
    with suppress(psutil.Error):
        first = psutil.Process(leader)
        for process in (first, *first.children(recursive=True)):
            with suppress(psutil.Error):
                used = process.memory_full_info()
                total += getattr(used, "pss", used.uss)
    return total


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the group: first it may keep what it has, then it is killed."""
    if not _has_ended(process):
        _signal(process.pid, signal.SIGTERM)
        until = time.monotonic() + _GRACE_S
        while not _has_ended(process) and time.monotonic() < until:
            time.sleep(0.05)
    _signal(process.pid, signal.SIGKILL)
    process.wait()


def _signal(group: int, number: int) -> None:
    # On some systems nothing may be sent to a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
