"""Which trainers of other projects this machine has, and what they run: `trainers.yaml`.

    training: {trainer: NAME} in a scenario  -->  trainers: {NAME: ...} on the machine that trains

A scenario is edited on the Prefect server, so it names a trainer and never carries a command. What
the name runs stands in a file of this machine that nobody but its owner may write.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationError

from guardianflow.errors import InputError, ScenarioInvalid
from guardianflow.lifecycle.importing import ImportOptions
from guardianflow.machine.private import read_own
from guardianflow.machine.servers import home
from guardianflow.scenario.values import ScenarioName, Settings
from guardianflow.scenario.yaml_lines import InvalidYaml, line_of, parse_yaml, repeated_keys

VARIABLE: Final = "GUARDIANFLOW_TRAINERS"
PLACEHOLDERS: Final = {
    "data": "folder with the images and labels of train and val",
    "out": "folder for whatever the trainer writes; it runs there",
    "settings": "JSON file with all of these, and the classes",
    "epochs": "training.epochs of the scenario",
    "image_size": "training.image_size",
    "batch_size": "training.batch_size",
    "seed": "training.seed",
    "threads": "training.threads; 0 = all",
    "device": "training.device: auto, cpu or cuda",
}
"""What `{NAME}` in an argument or a variable stands for."""
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_REMEDY = "docs/trainers.md has examples."


def _known(text: str) -> str:
    if "\0" in text:
        raise ValueError("no program can be given a NUL byte")
    for name in _PLACEHOLDER.findall(text):
        if name not in PLACEHOLDERS:
            raise ValueError(f"{{{name}}} is none of {', '.join(PLACEHOLDERS)}")
    return text


def _absolute(words: tuple[str, ...]) -> tuple[str, ...]:
    if words and not words[0].startswith("/"):
        raise ValueError(f"the program {words[0]!r} must be an absolute path")
    return words


def _below(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path:
        raise ValueError("it must be a path below {out}, without `..`")
    return path


_Text = Annotated[str, AfterValidator(_known)]
Command = Annotated[tuple[_Text, ...], AfterValidator(_absolute)]
"""A program and its arguments; no shell reads them."""
_Path = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_below)]
_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class DataForm(StrEnum):
    """How a trainer wants its images and labels."""

    YOLO = "yolo"
    COCO = "coco"


class ClassNames(StrEnum):
    """Who says which classes the ONNX file has."""

    FILE = "file"
    SCENARIO = "scenario"


class TrainerStep(Settings):
    """One program that a trainer runs."""

    run: Command = Field(min_length=1, description="The program and its arguments.")
    resume: Command = Field(
        default=(), description="The same, to go on after it was killed; empty: it begins again."
    )
    resume_needs: _Path | None = Field(
        default=None, description="A file below {out} without which it begins again."
    )


class Trainer(Settings):
    """What a trainer of another project runs, gets and leaves."""

    data: DataForm = Field(description="yolo or coco: how it wants images and labels.")
    steps: tuple[TrainerStep, ...] = Field(min_length=1, max_length=20, description="One by one.")
    onnx: _Path = Field(default="model.onnx", description="The detector, a file below {out}.")
    class_names: ClassNames = Field(
        default=ClassNames.FILE,
        description="file: the ONNX file names its classes; scenario: it has those of the "
        "scenario, in their order.",
    )
    reading: ImportOptions = Field(
        default_factory=ImportOptions,
        description="What the file does not say: layout, input_range, channel_order and so on.",
    )
    environment: dict[_Variable, _Text] = Field(
        default_factory=dict[str, str], description="Variables that it gets beside PATH and a few."
    )
    record: tuple[Annotated[Command, Field(min_length=1)], ...] = Field(
        default=(), max_length=5, description="Programs that tell its environment: pip freeze."
    )
    max_hours: float = Field(default=24.0, gt=0, le=500, description="For each of its steps.")
    max_memory_gib: float = Field(
        default=16.0, gt=0, le=65536, description="For all its processes together."
    )
    processors: int | None = Field(default=None, ge=1, description="Of this machine; empty: all.")

    @property
    def training_digest(self) -> str:
        """The digest of what decides what it trains: not its limits, nor how its file is read."""
        said = self.model_dump(mode="json", include={"data", "environment", "onnx"})
        return _sha256([said, [list(step.run) for step in self.steps]])

    @property
    def digest(self) -> str:
        """The digest of what decides which model comes out."""
        # Later versions know more ways to read a file; their defaults change no digest.
        reading = self.model_dump(mode="json", include={"reading"}, exclude_defaults=True)
        return _sha256([self.training_digest, self.class_names, reading])

    @property
    def programs(self) -> list[str]:
        """Every program that it may run, each once."""
        steps = [words for step in self.steps for words in (step.run, step.resume)]
        return list(dict.fromkeys(words[0] for words in (*steps, *self.record) if words))


class _File(Settings):
    trainers: dict[ScenarioName, Trainer]


def trainers_file() -> Path:
    """Where this machine says what its trainers run."""
    return Path(os.environ.get(VARIABLE) or home() / "trainers.yaml").expanduser().absolute()


def read_trainers() -> dict[str, Trainer]:
    """Read what this machine's trainers run; nothing where it has no such file.

    Raises:
        InputError: The file is not trusted, or something in it is wrong.
    """
    path = trainers_file()
    if not path.exists():
        return {}
    text = read_own(path, f"`chown` it to this user and `chmod go-w {path}`, and its folder too.")
    try:
        content, tree = parse_yaml(text)
    except InvalidYaml as error:
        raise _wrong(path, error.line, f"this is not YAML: {error}") from error
    for repeated in repeated_keys(tree):
        raise _wrong(path, repeated.again, f"the key {repeated}")
    try:
        return _File.model_validate(content).trainers
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        keys = first["loc"]
        lines = (line_of(tree, keys[:length]) for length in range(len(keys), 0, -1))
        key, said = ".".join(map(str, keys)), first["msg"].removeprefix("Value error, ")
        hint = ""
        if isinstance(first.get("input"), Mapping) and first["type"] == "string_type":
            hint = " (YAML reads {data} as a mapping: write '{data}')"
        what = f"{key}: {said}{hint}" if key else said
        raise _wrong(path, next((line for line in lines if line), None), what) from error


def find_trainer(name: str) -> Trainer:
    """Find what a trainer runs here.

    Raises:
        ScenarioInvalid: This machine does not list it.
        InputError: The list is not trusted, is wrong, or one of its programs cannot be run.
    """
    path, every = trainers_file(), read_trainers()
    if name not in every:
        has = f"lists only {', '.join(every)}" if every else "lists none"
        has = has if path.exists() else "is not there"
        raise ScenarioInvalid(
            f"training.trainer = {name!r}: this machine has no such trainer; {path} {has}.",
            remedy=f"Choose another one, or let the machine's administrator add it. {_REMEDY}",
            key="training.trainer",
            value=name,
            file=str(path),
        )
    for program in every[name].programs:
        if not os.access(program, os.X_OK) or Path(program).is_dir():
            raise InputError(
                f"{path}: the program {program} of trainer {name} cannot be run on this machine.",
                remedy="Install it there, or correct the path.",
                file=str(path),
                value=program,
            )
    return every[name]


def fill_in(words: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """Return arguments with their placeholders replaced; no value is read for others again."""
    return [_PLACEHOLDER.sub(lambda found: str(values[found[1]]), word) for word in words]


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _wrong(path: Path, line: int | None, what: str) -> InputError:
    place = f"{path}:{line}" if line else str(path)
    return InputError(f"{place}: {what}.", remedy=_REMEDY, file=str(path), line=line)
