"""The folder in which a trainer of another project works, and what is left of it after a kill.

    begun --steps, one by one--> finished --its model is in MLflow--> removed
      ^           |
      +- killed: the step resumes; or begins again, the first one with new folders

    HOME/trainers/<work>/
        data/           images and labels of train and val
        out/            the trainer's own; it runs here
        settings.json   what it is told
        trainer.log     what it said
        state.json      which step it was in

One process at a time has the folder: whoever holds the lock of its work (`foreign.py`).
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from guardianflow.errors import TrainerFailed
from guardianflow.lifecycle.training.trainers import (
    Command,
    Trainer,
    TrainerStep,
    fill_in,
    trainers_file,
)
from guardianflow.machine.disk import write_whole
from guardianflow.machine.servers import without_secrets
from guardianflow.machine.supervision import Allowance, Ended, Passed, run_supervised
from guardianflow.stored import Strict
from guardianflow.vision.ir.foreign import MAX_BYTES

# No other variable of ours is passed on: it may be a secret.
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "CUDA_VISIBLE_DEVICES")
_RECORD_S, _MOST_RECORDED = 120, 4000
_MOST_LOGGED = 16 * 2**20
_BURST, _PER_S = 40.0, 2.0
log = logging.getLogger(__name__)


class _State(Strict):
    """How far the trainer is; written before and after each step."""

    step: int = 0
    begun: bool = False
    resume_failed: bool = False


@dataclass(frozen=True)
class Workshop:
    """One piece of work of one trainer, in its folder.

    Attributes:
        told: Value of each placeholder but the paths.
        on_line: Called with what the trainer says, line by line, but not with all of a flood.
    """

    folder: Path
    name: str
    trainer: Trainer
    told: Mapping[str, object]
    on_line: Callable[[str], None]

    @property
    def data(self) -> Path:
        """Where the images and labels are."""
        return self.folder / "data"

    @property
    def out(self) -> Path:
        """Where the trainer writes."""
        return self.folder / "out"

    @property
    def words(self) -> Path:
        """What the trainer said."""
        return self.folder / "trainer.log"

    def record(self) -> str:
        """Ask what the trainer's environment is.

        Raises:
            TrainerFailed: One of the programs that tell it failed.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        said: list[str] = []
        for command in self.trainer.record:
            words = fill_in(command, self._values())
            said.append(f"$ {' '.join(words)}")
            first = len(said)
            ended = self._run(command, said.append, seconds=_RECORD_S)
            if ended.code or ended.passed:
                raise self._failed(ended, " ".join(words), said[first:])
        return "\n".join(said[:_MOST_RECORDED])

    def work(self, write_data: Callable[[Path], None]) -> Path:
        """Let the trainer do what is left to do, and return its ONNX file.

        Raises:
            TrainerFailed: It failed, passed a limit, or left no such file.
            DiskFull: There is no room for the data.
        """
        state = self._read()
        if state is None:
            state = self._begin(write_data)
        elif state.begun:
            again = "resumes" if self._resumes(state) else "begins again"
            self.on_line(f"step {state.step + 1} of trainer {self.name} did not finish, it {again}")
            if state.step == 0 and not self._resumes(state):
                state = self._begin(write_data)
        for number, step in enumerate(self.trainer.steps[state.step :], start=state.step):
            self._do(step, number, self._read() or state)
        return self._made()

    def remove(self) -> None:
        """Remove the folder: the model is in MLflow."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self, write_data: Callable[[Path], None]) -> _State:
        (self.folder / "state.json").unlink(missing_ok=True)
        for place in (self.data, self.out):
            shutil.rmtree(place, ignore_errors=True)
        self.words.unlink(missing_ok=True)
        write_data(self.data)
        self.out.mkdir(parents=True)
        values = json.dumps(self._values(), ensure_ascii=False, indent=1)
        (self.folder / "settings.json").write_text(values, encoding="utf-8")
        return self._keep(_State())

    def _do(self, step: TrainerStep, number: int, state: _State) -> None:
        resumes = self._resumes(state)
        self._keep(_State(step=number, begun=True))
        command = step.resume if resumes else step.run
        voice = _Voice(self.words, self.on_line)
        ended = self._run(command, voice.hear, seconds=self.trainer.max_hours * 3600)
        if ended.code or ended.passed:
            if resumes and not ended.passed:
                # What it would resume from may be damaged: next time it begins again.
                self._keep(_State(step=number, begun=True, resume_failed=True))
            raise self._failed(ended, f"step {number + 1}", voice.last)
        self._keep(_State(step=number + 1))

    def _resumes(self, state: _State) -> bool:
        if not state.begun or state.resume_failed:
            return False
        step = self.trainer.steps[state.step]
        there = step.resume_needs is None or (self.out / step.resume_needs).is_file()
        return bool(step.resume) and there

    def _run(self, command: Command, hear: Callable[[str], None], *, seconds: float) -> Ended:
        values, trainer = self._values(), self.trainer
        passed_on = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        added = {key: fill_in([text], values)[0] for key, text in trainer.environment.items()}
        return run_supervised(
            fill_in(command, values),
            folder=self.out,
            environment={**passed_on, **added},
            limits=Allowance(seconds, int(trainer.max_memory_gib * 2**30), trainer.processors),
            # What it says is kept, logged, and quoted in errors.
            on_line=lambda line: hear(without_secrets(line)),
        )

    def _values(self) -> dict[str, object]:
        paths = {"data": self.data, "out": self.out, "settings": self.folder / "settings.json"}
        return {**self.told, **{key: str(path) for key, path in paths.items()}}

    def _made(self) -> Path:
        """The ONNX file that the trainer left.

        Raises:
            TrainerFailed: It is not there, leads elsewhere, or is too large.
        """
        path, out = self.out / self.trainer.onnx, self.out.resolve()
        if path.is_file() and path.resolve().is_relative_to(out):
            self._refuse_huge(path.resolve())
            return path.resolve()
        found = [str(one.relative_to(self.out)) for one in sorted(self.out.rglob("*.onnx"))[:5]]
        raise TrainerFailed(
            f"The trainer {self.name} ended well, but left no {self.trainer.onnx} in {self.out}; "
            f"there is {', '.join(found) or 'no .onnx file'}.",
            remedy=f"Correct `onnx` of {self.name} in {trainers_file()}, and run it again.",
            file=str(path),
        )

    def _refuse_huge(self, onnx: Path) -> None:
        """Refuse what no import takes, before it is copied to MLflow."""
        size = sum(file.stat().st_size for file in files_of(onnx))
        if size > MAX_BYTES:
            raise TrainerFailed(
                f"The trainer {self.name} left {onnx} with {size / 2**20:.0f} MiB together with "
                f"the files whose names begin so; at most {MAX_BYTES // 2**20} are taken.",
                remedy="Let it export a smaller network, or remove what lies beside it.",
                file=str(onnx),
            )

    def _read(self) -> _State | None:
        try:
            return _State.model_validate_json((self.folder / "state.json").read_bytes())
        except (OSError, ValueError):
            return None

    def _keep(self, state: _State) -> _State:
        write_whole(self.folder / "state.json", state.model_dump_json().encode())
        return state

    def _failed(self, ended: Ended, what: str, said: list[str]) -> TrainerFailed:
        listed = f"{self.name} in {trainers_file()}"
        remedy = f"All that it said is in {self.words}."
        match ended.passed:
            case Passed.TIME:
                why = f"was ended after {self.trainer.max_hours:g} h, its limit"
                remedy = f"Raise max_hours of {listed}, and run it again."
            case Passed.MEMORY:
                why = f"was ended above {self.trainer.max_memory_gib:g} GiB of memory, its limit"
                remedy = f"Raise max_memory_gib of {listed}, or lower training.batch_size."
            case None:
                why = f"ended with {ended.code}, and said: {' / '.join(said[-3:]) or 'nothing'}"
        return TrainerFailed(
            f"The trainer {self.name} ({what}) {why}.",
            remedy=remedy,
            trainer=self.name,
            status=ended.code,
            said=said,
        )


def files_of(onnx: Path) -> list[Path]:
    """Return an ONNX file and those with its weights: best.onnx, best.onnx.data."""
    beside = (one for one in onnx.parent.iterdir() if one.name.startswith(onnx.name))
    return sorted(one for one in beside if one.is_file() and not one.is_symlink())


class _Voice:
    """Keeps what a trainer says in a file, and passes on so much that nobody drowns in it."""

    def __init__(self, file: Path, on_line: Callable[[str], None]) -> None:
        self._file, self._on_line = file, on_line
        self._left, self._at, self._silent = _BURST, time.monotonic(), 0
        self.last: list[str] = []

    def hear(self, line: str) -> None:
        """Take a line."""
        self.last = [*self.last[-19:], line]
        with self._file.open("a", encoding="utf-8", errors="replace") as file:
            if file.tell() < _MOST_LOGGED:
                file.write(f"{line}\n")
        now = time.monotonic()
        self._left = min(_BURST, self._left + (now - self._at) * _PER_S)
        self._at = now
        if self._left < 1:
            self._silent += 1
            return
        self._left -= 1
        if self._silent:
            self._on_line(f"({self._silent} lines more in {self._file})")
            self._silent = 0
        self._on_line(line)
