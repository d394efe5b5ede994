"""What a scenario learns from: scenes that are drawn, or a folder of images and labels."""

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from guardianflow.errors import ScenarioInvalid
from guardianflow.scenario.values import Settings


class Light(StrEnum):
    """The light in which a synthetic scene is drawn."""

    DAY = "day"
    NIGHT = "night"


class SyntheticData(Settings):
    """The embedded data set: welding-zone scenes that the project draws itself."""

    kind: Literal["synthetic"] = Field(description="Scenes drawn by guardianflow.synthetic.")
    seed: int = Field(default=7, ge=0, description="Seed of every split; same seed, same bytes.")
    image_size: int = Field(default=256, ge=64, le=1280, description="Side of a scene in pixels.")
    train_images: int = Field(default=240, ge=4, le=100_000, description="Scenes to learn from.")
    val_images: int = Field(default=48, ge=2, le=100_000, description="Scenes that choose best.pt.")
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
    """A YOLO-format data set on disk."""

    kind: Literal["folder"] = Field(description="A folder with data.yaml, images/ and labels/.")
    path: str = Field(
        min_length=1,
        description="The folder; ${VARIABLE} is read from the environment, a relative path "
        "starts at the working directory.",
    )

    def resolve(self) -> Path:
        """The folder with the environment's variables filled in.

        Raises:
            ScenarioInvalid: A variable is not set, or there is no such folder.
        """
        missing = [name for name in re.findall(r"\$\{(\w+)\}", self.path) if name not in os.environ]
        if missing:
            raise ScenarioInvalid(
                f"dataset.path = {self.path!r} needs the environment variable {missing[0]}, "
                "which is not set.",
                remedy=f"export {missing[0]}=/path/to/data",
                key="dataset.path",
                value=self.path,
            )
        path = Path(os.path.expandvars(self.path)).expanduser().absolute()
        if not path.is_dir():
            raise ScenarioInvalid(
                f"dataset.path = {self.path!r}: the folder {path} does not exist.",
                remedy="Correct dataset.path in the scenario, or bring the folder there.",
                key="dataset.path",
                value=str(path),
            )
        return path


DatasetSettings = Annotated[SyntheticData | FolderData, Field(discriminator="kind")]
