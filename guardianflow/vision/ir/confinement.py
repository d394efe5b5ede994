"""Has the file of a stranger read by a child process with bounds, whose death is one sentence.

    file + what the caller knows --child (`confined`): memory, time--> IR + what was found in it

A graph of a kilobyte can ask for a petabyte or for a year. So neither its header nor its graph is
opened in a process that holds anything: no credentials are given to the child, either.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir.confined import ANSWER, REQUEST, SQUARES, ReadingAnswer, ReadingRequest

_MODULE = "guardianflow.vision.ir.confined"
# What it needs of the environment: where programs and libraries are, how texts are written, how
# many threads compute, and that nobody is phoned. Whatever else is set may be a secret.
_FOR_IT = {
    *("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "PYTHONNOUSERSITE", "PYTHONDONTWRITEBYTECODE"),
    *("CI", "NNCF_CI", "DO_NOT_TRACK"),
}
_FOR_IT_TOO = ("LC_", "OMP_", "KMP_", "ONEDNN_", "DNNL_", "OPENBLAS_", "MKL_")
# Honest answers are some hundred characters.
_MAX_ANSWER = 2**20
_SAID = "said.txt"
# What allocators say when there is no more; a file's own text hardly holds these words.
_OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "Failed to allocate", "not enough memory")
_TAIL = 4000


class _Error(BaseModel):
    """An error of ours that the child met; what else it holds is its data."""

    model_config = ConfigDict(extra="allow")

    type: str
    message: str
    remedy: str


def read_confined(
    path: Path,
    folder: Path,
    request: ReadingRequest,
    squares: Sequence[NDArray[np.uint8]] = (),
) -> ReadingAnswer:
    """Open a file, rebuild it into an IR of ours and try that on a few frames.

    Args:
        path: The .onnx file, or the .xml of an IR.
        folder: Where the IR is left, in `ir/`; it is made, and must not hold another.
        request: How it is to be read, and what that may take.
        squares: Letterboxed frames, each of shape (S, S, 3), uint8.

    Raises:
        ModelInvalid: What `open_foreign`, `adapt` and `check_answers` say; or it takes more than
            its bounds, or ends the process that reads it.
    """
    folder.mkdir(parents=True)
    (folder / REQUEST).write_text(request.model_dump_json(), encoding="utf-8")
    if squares:
        np.save(folder / SQUARES, np.stack(squares))
    ended = _run(path, folder, request)
    try:
        given = _given(folder / ANSWER)
        if "answer" in given:
            return ReadingAnswer.model_validate(given["answer"])
        error = _Error.model_validate(given["error"])
    except (OSError, ValueError, KeyError, TypeError) as broken:
        raise _broken(path, request, ended) from broken
    if _out_of_memory(error.message):
        raise _too_much_memory(path, request)
    raise ModelInvalid(error.message, remedy=error.remedy, **(error.model_extra or {}))


def _given(answer: Path) -> dict[str, object]:
    # Whatever lies there is the stranger's: a pipe would be waited for, a long text kept.
    if answer.is_symlink() or not answer.is_file() or answer.stat().st_size > _MAX_ANSWER:
        raise ValueError("no answer of ours")
    return json.loads(answer.read_text(encoding="ascii"))


@dataclass(frozen=True)
class _Ended:
    """How a child ended: its exit status, negative for a signal, and what it said last."""

    status: int
    said: str


def _run(path: Path, folder: Path, request: ReadingRequest) -> _Ended:
    environment = {
        key: value
        for key, value in os.environ.items()
        if key in _FOR_IT or key.startswith(_FOR_IT_TOO)
    }
    # -P: what lies in the working directory must not be taken for a library.
    command = [sys.executable, "-P", "-m", _MODULE, os.fspath(path), os.fspath(folder)]
    # Into a file that is bounded like all others that it writes: a pipe would have to be emptied.
    with (folder / _SAID).open("w+b") as said:
        try:
            # A new program, no fork of this one: whatever threads hold here is not copied.
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
        return _Ended(done.returncode, said.read().decode(errors="replace"))


def _broken(path: Path, request: ReadingRequest, ended: _Ended) -> ModelInvalid:
    """The one sentence for a child that left no answer."""
    if _out_of_memory(ended.said):
        return _too_much_memory(path, request)
    if ended.status == -signal.SIGXCPU:
        return _too_slow(path, request)
    lines = [line.strip() for line in ended.said.splitlines() if line.strip()]
    last = lines[-1][:300] if lines else "without a word"
    if ended.status == -signal.SIGKILL:
        how = "was killed, most likely because the machine has no more memory"
    elif ended.status < 0:
        # Not every library looks whether it was given the memory that it asked for.
        gib = request.memory_bytes / 2**30
        how = f"crashed ({signal.Signals(-ended.status).name}), as it may when {gib:g} GiB of "
        how += "memory are too little"
    else:
        how = f"broke off: {last}"
    return ModelInvalid(
        f"{path} cannot be used: the process that read it {how}.",
        remedy="Export it again in its own trainer, and try it there with ONNX Runtime. If you "
        "trust it and it runs there, give it more: --max-memory-gib, --max-minutes",
        file=str(path),
        status=ended.status,
        said=ended.said,
    )


def _out_of_memory(text: str) -> bool:
    return any(words in text for words in _OUT_OF_MEMORY)


def _too_much_memory(path: Path, request: ReadingRequest) -> ModelInvalid:
    gib = request.memory_bytes / 2**30
    return ModelInvalid(
        f"{path} asks for more than {gib:g} GiB of memory to be read and run once.",
        remedy=f"No edge box would run it. If you trust the file: --max-memory-gib {2 * gib:g}",
        file=str(path),
        memory_gib=gib,
    )


def _too_slow(path: Path, request: ReadingRequest) -> ModelInvalid:
    minutes = request.seconds / 60
    return ModelInvalid(
        f"{path} takes more than {minutes:g} minute{'' if minutes == 1 else 's'} to be read and "
        "tried on a few frames.",
        remedy=f"No edge box would run it. If you trust the file: --max-minutes {3 * minutes:g}",
        file=str(path),
        minutes=minutes,
    )
