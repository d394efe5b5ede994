"""Reads an untrusted model file in a child process with limits; its crash becomes one error.

    file + what the caller knows --child (`confined`): memory, time--> IR + what was found in it

A graph of one kilobyte can ask for a petabyte or run for a year. So neither its header nor its
graph is opened in this process, and the child gets no credentials.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir.confined import ANSWER, PICTURES, REQUEST, ReadingAnswer, ReadingRequest

_MODULE = "guardianflow.vision.ir.confined"
# Environment variables that the child gets: search paths, locale, threads, telemetry. Any other
# variable may be a secret.
_PASSED_ON = {
    *("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "PYTHONNOUSERSITE", "PYTHONDONTWRITEBYTECODE"),
    *("CI", "NNCF_CI", "DO_NOT_TRACK"),
}
_PASSED_PREFIXES = ("LC_", "OMP_", "KMP_", "ONEDNN_", "DNNL_", "OPENBLAS_", "MKL_")
# A genuine answer has some hundred characters.
_MAX_ANSWER = 2**20
_STDERR = "said.txt"
# Messages of allocators without memory; the text of a model file hardly contains them.
_OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "Failed to allocate", "not enough memory")
_TAIL = 4000


class _Error(BaseModel):
    """A ModelInvalid of the child; further keys are its data."""

    model_config = ConfigDict(extra="allow")

    type: str
    message: str
    remedy: str


def read_confined(
    path: Path,
    folder: Path,
    request: ReadingRequest,
    pictures: Sequence[NDArray[np.uint8]] = (),
) -> ReadingAnswer:
    """Open a file, rebuild it as our IR and run that on a few frames.

    Args:
        path: The .onnx file, or the .xml of an IR.
        folder: A new folder; the IR is saved in its `ir/`.
        request: How to read the file, and within which limits.
        pictures: Frames as its input, each of shape (H, W, 3), uint8.

    Raises:
        ModelInvalid: See `open_foreign`, `adapt` and `check_answers`; or the file exceeds its
            limits, or crashes the process that reads it.
    """
    folder.mkdir(parents=True)
    (folder / REQUEST).write_text(request.model_dump_json(), encoding="utf-8")
    if pictures:
        np.save(folder / PICTURES, np.stack(pictures))
    ended = _run(path, folder, request)
    try:
        given = _read_answer(folder / ANSWER)
        if "answer" in given:
            return ReadingAnswer.model_validate(given["answer"])
        error = _Error.model_validate(given["error"])
    except (OSError, ValueError, KeyError, TypeError) as broken:
        raise _without_answer(path, request, ended) from broken
    if _out_of_memory(error.message):
        raise _too_much_memory(path, request)
    raise ModelInvalid(error.message, remedy=error.remedy, **(error.model_extra or {}))


def _read_answer(answer: Path) -> dict[str, object]:
    # The file is untrusted: reading a pipe would block, a long text would fill the memory.
    if answer.is_symlink() or not answer.is_file() or answer.stat().st_size > _MAX_ANSWER:
        raise ValueError("not a genuine answer")
    return json.loads(answer.read_text(encoding="ascii"))


def _run(path: Path, folder: Path, request: ReadingRequest) -> "subprocess.CompletedProcess[str]":
    """Run the child; the end of its stderr is in the result."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key in _PASSED_ON or key.startswith(_PASSED_PREFIXES)
    }
    # -P: files in the working directory must not be imported.
    command = [sys.executable, "-P", "-m", _MODULE, os.fspath(path), os.fspath(folder)]
    # stderr is a file, limited like all that the child writes: a pipe would have to be drained.
    with (folder / _STDERR).open("w+b") as said:
        try:
            # A new process, not a fork: locks and memory of this one are not copied.
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                timeout=request.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            raise _too_slow(path, request) from expired
        said.seek(max(0, said.seek(0, os.SEEK_END) - _TAIL))
        last = said.read().decode(errors="replace")
        return subprocess.CompletedProcess(command, done.returncode, stderr=last)


def _without_answer(
    path: Path, request: ReadingRequest, ended: "subprocess.CompletedProcess[str]"
) -> ModelInvalid:
    """The error for a child that left no answer."""
    if _out_of_memory(ended.stderr):
        return _too_much_memory(path, request)
    if ended.returncode == -signal.SIGXCPU:
        return _too_slow(path, request)
    lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    last = lines[-1][:300] if lines else "without a message"
    if ended.returncode == -signal.SIGKILL:
        how = "was killed, most likely because the machine ran out of memory"
    elif ended.returncode < 0:
        # Not every library checks whether it got the memory that it asked for.
        gib = request.memory_bytes / 2**30
        how = (
            f"crashed ({signal.Signals(-ended.returncode).name}), which may mean that {gib:g} GiB "
        )
        how += "of memory is too little"
    else:
        how = f"failed: {last}"
    return ModelInvalid(
        f"{path} cannot be used: the process that read it {how}.",
        remedy="Export it again in its own trainer, and try it there with ONNX Runtime. If it runs "
        "there and you trust it, raise the limits: --max-memory-gib, --max-minutes",
        file=str(path),
        status=ended.returncode,
        said=ended.stderr,
    )


def _out_of_memory(text: str) -> bool:
    return any(words in text for words in _OUT_OF_MEMORY)


def _too_much_memory(path: Path, request: ReadingRequest) -> ModelInvalid:
    gib = request.memory_bytes / 2**30
    return ModelInvalid(
        f"{path} needs more than {gib:g} GiB of memory to be read and run once.",
        remedy=f"No edge box could run it. If you trust the file: --max-memory-gib {2 * gib:g}",
        file=str(path),
        memory_gib=gib,
    )


def _too_slow(path: Path, request: ReadingRequest) -> ModelInvalid:
    minutes = request.seconds / 60
    return ModelInvalid(
        f"{path} takes more than {minutes:g} minute{'' if minutes == 1 else 's'} to be read and "
        "tried on a few frames.",
        remedy=f"No edge box could run it. If you trust the file: --max-minutes {3 * minutes:g}",
        file=str(path),
        minutes=minutes,
    )
