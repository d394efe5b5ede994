"""Whether a camera can be blamed before a model is: silent, dark, washed out, blurred or frozen.

    frames --each, in grey, 160 px wide--> dark? washed out? blurred?  --\
           --each beside the one before--> frozen? (`stillness.py`)    ---+--> faults of the window
           --how many--------------------> silent?                     --/

A model that is shown a lens full of grease misses everybody, and so would the one before it. The
limits were measured (docs/decisions/0018): they separate photographs and drawn scenes by day and at
night from the same pictures darkened, hazed or blurred.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from guardianflow.vision.metrics.stillness import StillnessWatch

_SIDE = 160
# Grey levels, 0..255. Photographs have their 99th percentile above 160, drawn nights above 65; a
# tenth of the light leaves 26 of the brightest day (docs/decisions/0023).
_DARK = 40.0
# Haze lifts the darkest places and takes the contrast away; sharp pictures have 14 and more.
_WASHED_FLOOR = 100.0
_WASHED_CONTRAST = 18.0
# Standard deviation of the Laplacian over that of the picture: 0.36 and more where it is sharp,
# 0.18 and less where it is blurred over a hundredth of its side.
_BLURRED = 0.22
_FLAT = 2.0
_MOST = 0.5
# Mean spread of the colour channels in grey levels: 0 in a JPEG without colour, 16 and more in
# drawn scenes by day and at night, 9.9 and more in 95 of 100 photographs (some of them are grey).
_COLOURLESS = 2.0


class FaultKind(StrEnum):
    """What can be wrong with a camera."""

    SILENT = "silent"
    DARK = "dark"
    WASHED_OUT = "washed out"
    BLURRED = "blurred"
    FROZEN = "frozen"


class CameraFault(BaseModel):
    """One thing that is wrong with a camera, over a window of frames."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind = Field(description="silent, dark, washed out, blurred or frozen.")
    frames: int = Field(ge=0, description="Frames that show it.")
    of: int = Field(ge=0, description="Frames that were looked at.")

    @property
    def message(self) -> str:
        """It in words."""
        if self.kind is FaultKind.SILENT:
            return f"the camera is silent: {self.of} frames"
        return f"{self.frames} of {self.of} frames are {self.kind.value}"


@dataclass(frozen=True)
class CameraCheck:
    """What a window of frames says about the camera that took them."""

    faults: tuple[CameraFault, ...]
    """What at least half of the frames show; none where the camera is well."""
    repeats: tuple[int, ...]
    """Positions of the frames that only repeat the one before: the recording is faster than the
    camera. They say nothing new and are left out before a model is judged."""


def check_camera(frames: Iterable[NDArray[np.uint8]], *, least: int = 1) -> CameraCheck:
    """Look for what is wrong with the camera that took these frames, and with their recording.

    Args:
        frames: RGB, each of shape (H, W, 3), uint8, in the order in which they were taken.
        least: Fewer frames than this are a silent camera.
    """
    counts: dict[FaultKind, int] = {}
    still = StillnessWatch()
    total = 0
    for frame in frames:
        total += 1
        still.look_at(frame)
        for kind in _faults_of(frame):
            counts[kind] = counts.get(kind, 0) + 1
    if total < least:
        return CameraCheck((CameraFault(kind=FaultKind.SILENT, frames=0, of=total),), ())
    seen = still.result()
    counts[FaultKind.FROZEN] = seen.frozen
    return CameraCheck(tuple(_lasting(counts, total)), seen.repeats)


def find_faults(frames: Iterable[NDArray[np.uint8]], *, least: int = 1) -> tuple[CameraFault, ...]:
    """The faults that `check_camera` finds, for who leaves no frames out."""
    return check_camera(frames, least=least).faults


def faults_in_words(faults: Sequence[CameraFault]) -> str:
    """The faults as one sentence for people, without its full stop."""
    return "; ".join(fault.message for fault in faults)


def are_grey(frames: Iterable[NDArray[np.uint8]]) -> bool:
    """Whether most of these frames have no colour, as infra-red cameras take them at night.

    No fault of a camera: but a model that has learned from colours may be blind there.

    Args:
        frames: RGB, each of shape (H, W, 3), uint8.
    """
    answers = [_colour(frame) < _COLOURLESS for frame in frames]
    return sum(answers) > _MOST * len(answers)


def _colour(frame: NDArray[np.uint8]) -> float:
    """How far the channels of a frame are apart, in grey levels."""
    channels = np.asarray(Image.fromarray(frame).reduce(4), dtype=np.float32)
    return float((channels.max(axis=2) - channels.min(axis=2)).mean())


def _lasting(counts: dict[FaultKind, int], total: int) -> Iterable[CameraFault]:
    for kind in FaultKind:
        # The first frame has none before it.
        chances = total - 1 if kind is FaultKind.FROZEN else total
        if counts.get(kind, 0) and counts[kind] >= _MOST * chances:
            yield CameraFault(kind=kind, frames=counts[kind], of=total)


def _faults_of(frame: NDArray[np.uint8]) -> list[FaultKind]:
    grey = _small(frame)
    contrast = float(grey.std())
    low, high = np.percentile(grey, (1, 99))
    if high < _DARK:
        # Nothing more can be said of a black picture.
        return [FaultKind.DARK]
    if low > _WASHED_FLOOR and contrast < _WASHED_CONTRAST:
        return [FaultKind.WASHED_OUT]
    if contrast >= _FLAT and _sharpness(grey) < _BLURRED * contrast:
        return [FaultKind.BLURRED]
    return []


def _small(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The frame in grey, its longer side 160 pixels, shape (h, w): averaged, so without noise."""
    height, width = frame.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(3, round(width * scale)), max(3, round(height * scale)))
    picture = Image.fromarray(frame).convert("L").resize(size, Image.Resampling.BOX)
    return np.asarray(picture, dtype=np.float32)


def _sharpness(grey: NDArray[np.float32]) -> float:
    """Standard deviation of the Laplacian, in grey levels."""
    centre = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((4 * centre - around).std())
