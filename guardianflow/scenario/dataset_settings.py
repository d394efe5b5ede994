"""The data set of a scenario: drawn scenes, or a folder of images and labels."""

import os
import re
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from guardianflow.errors import ScenarioInvalid
from guardianflow.scenario.values import ClassName, Settings

_YAML = (".yaml", ".yml")


class Light(StrEnum):
    """The light of a synthetic scene."""

    DAY = "day"
    NIGHT = "night"


class NearDuplicates(StrEnum):
    """Whether training accepts near duplicates in two splits."""

    REFUSED = "refused"
    KNOWN = "known"


class SyntheticData(Settings):
    """The embedded data set: drawn welding-zone scenes."""

    kind: Literal["synthetic"] = Field(description="Scenes drawn by guardianflow.vision.synthetic.")
    seed: int = Field(default=7, ge=0, description="Seed of every split; same seed, same bytes.")
    image_size: int = Field(default=256, ge=64, le=1280, description="Side of a scene in pixels.")
    train_images: int = Field(default=240, ge=4, le=100_000, description="Scenes to train on.")
    val_images: int = Field(default=48, ge=2, le=100_000, description="Scenes that select best.pt.")
    test_images: int = Field(
        default=64, ge=2, le=100_000, description="Scenes of the frozen evaluation set."
    )
    train_light: tuple[Light, ...] = Field(
        default=(Light.DAY, Light.NIGHT), min_length=1, description="Light of train and val."
    )
    test_light: tuple[Light, ...] = Field(
        default=(Light.DAY,), min_length=1, description="Light of the frozen evaluation set."
    )


class FolderData(Settings):
    """A data set in YOLO format on disk."""

    kind: Literal["folder"] = Field(description="A folder with data.yaml, images/ and labels/.")
    path: str = Field(
        min_length=1,
        description="The folder, or the YAML file in it. ${VARIABLE} is read from the environment; "
        "relative paths start at the working directory.",
    )
    root: str | None = Field(
        default=None,
        min_length=1,
        description="Replaces `path` of a data.yaml from another machine, like `dataset check "
        "--root`.",
    )
    classes: dict[ClassName, str] = Field(
        default_factory=dict[str, str],
        description="Names in data.yaml of the scenario's classes that have another name there. "
        "Case, spaces, hyphens, order and additional classes make no difference.",
    )
    near_duplicates: NearDuplicates = Field(
        default=NearDuplicates.REFUSED,
        description="refused: near duplicates in two splits keep the data set out of training; "
        "known: they are accepted. Not part of the digest, because the data are the same.",
    )

    def resolve(self) -> Path:
        """Return the folder or the YAML file, with environment variables expanded.

        Raises:
            ScenarioInvalid: A variable is not set, or there is no such folder or file.
        """
        path = _filled("dataset.path", self.path)
        if not _is_folder(path) and not (path.suffix.lower() in _YAML and _is_file(path)):
            raise _no_folder("dataset.path", self.path, path)
        return path

    def base_folder(self) -> Path | None:
        """Return the folder that replaces `path` of data.yaml; None if there is none.

        Raises:
            ScenarioInvalid: A variable is not set, or there is no such folder.
        """
        if self.root is None:
            return None
        path = _filled("dataset.root", self.root)
        if not _is_folder(path):
            raise _no_folder("dataset.root", self.root, path)
        return path


def _filled(key: str, text: str) -> Path:
    """A path of the scenario, with environment variables expanded."""
    missing = [name for name in re.findall(r"\$\{(\w+)\}", text) if name not in os.environ]
    if missing:
        raise ScenarioInvalid(
            f"{key} = {text!r} needs the environment variable {missing[0]}, which is not set.",
            remedy=f"export {missing[0]}=/path/to/data",
            key=key,
            value=text,
        )
    return Path(os.path.expandvars(text)).expanduser().absolute()


def _is_folder(path: Path) -> bool:
    # Not Path.is_dir: it raises on names that are too long.
    return os.path.isdir(path)  # noqa: PTH112


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113


def _no_folder(key: str, text: str, path: Path) -> ScenarioInvalid:
    if _is_file(path):
        return ScenarioInvalid(
            f"{key} = {text!r}: {path} is a file, but not the YAML file of a data set.",
            remedy=f"`guardianflow dataset check {shlex.quote(str(path))}` tells what it is.",
            key=key,
            value=str(path),
        )
    return ScenarioInvalid(
        f"{key} = {text!r}: the folder {path} does not exist.",
        remedy=f"Correct {key} in the scenario, or copy the folder there.",
        key=key,
        value=str(path),
    )


DatasetSettings = Annotated[SyntheticData | FolderData, Field(discriminator="kind")]
