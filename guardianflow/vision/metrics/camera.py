"""Detects faults of a camera: silent, dark, washed out, blurred or frozen.

    frames --each, in grey, 160 px wide--> dark? washed out? blurred?  --\
           --each with the one before----> frozen? (`stillness.py`)    ---+--> faults of the window
           --number----------------------> silent?                     --/

Behind a greasy lens every model misses everybody, so the camera is checked before the model is
judged. The limits were measured (docs/decisions/0018): they separate photographs and drawn scenes,
by day and at night, from the same pictures darkened, hazed or blurred.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from guardianflow.stored import Strict
from guardianflow.vision.metrics.stillness import StillnessWatch

_SIDE = 160
# Grey levels, 0..255. The 99th percentile of photographs is above 160, of drawn nights above 65; a
# tenth of the light reduces the brightest day to 26 (docs/decisions/0023).
_DARK = 40.0
# Haze brightens the darkest areas and reduces the contrast; clear pictures have 14 and more.
_WASHED_FLOOR = 100.0
_WASHED_CONTRAST = 18.0
# Standard deviation of the Laplacian over that of the picture: 0.36 and more if it is sharp, 0.18
# and less if it is blurred over a hundredth of its side.
_BLURRED = 0.22
_FLAT = 2.0
_MOST = 0.5
# Mean spread of the colour channels in grey levels: 0 in a JPEG without colour, 16 and more in
# drawn scenes by day and at night, 9.9 and more in 95 of 100 photographs (some of which are grey).
_COLOURLESS = 2.0


class FaultKind(StrEnum):
    """The kinds of camera faults."""

    SILENT = "silent"
    DARK = "dark"
    WASHED_OUT = "washed out"
    BLURRED = "blurred"
    FROZEN = "frozen"


class CameraFault(Strict):
    """A fault of a camera in a window of frames."""

    kind: FaultKind = Field(description=", ".join(FaultKind))
    frames: int = Field(ge=0, description="Frames with the fault.")
    of: int = Field(ge=0, description="Frames in the window.")

    @property
    def message(self) -> str:
        """The fault in words."""
        match self.kind:
            case FaultKind.SILENT:
                return f"the camera is silent: {self.of} frames"
            case FaultKind.DARK | FaultKind.WASHED_OUT | FaultKind.BLURRED | FaultKind.FROZEN:
                return f"{self.frames} of {self.of} frames are {self.kind.value}"
            case _:
                assert_never(self.kind)


@dataclass(frozen=True)
class CameraCheck:
    """The camera faults and repeated frames of a window."""

    faults: tuple[CameraFault, ...]
    """Faults in at least half of the frames."""
    repeats: tuple[int, ...]
    """Positions of frames that only repeat the one before, because the recording is faster than the
    camera. They are left out before a model is judged."""


def check_camera(frames: Iterable[NDArray[np.uint8]]) -> CameraCheck:
    """Find faults of the camera, and frames that its recording repeats.

    Args:
        frames: RGB, each of shape (H, W, 3), uint8, in the order in which they were taken;
            without any the camera is silent.
    """
    counts: dict[FaultKind, int] = {}
    still = StillnessWatch()
    total = 0
    for frame in frames:
        total += 1
        still.look_at(frame)
        for kind in _faults_of(frame):
            counts[kind] = counts.get(kind, 0) + 1
    if total == 0:
        return CameraCheck((CameraFault(kind=FaultKind.SILENT, frames=0, of=0),), ())
    seen = still.result()
    counts[FaultKind.FROZEN] = seen.frozen
    return CameraCheck(tuple(_lasting(counts, total)), seen.repeats)


def faults_in_words(faults: Sequence[CameraFault]) -> str:
    """Return the faults as one sentence for people, without a full stop."""
    return "; ".join(fault.message for fault in faults)


def are_grey(frames: Iterable[NDArray[np.uint8]]) -> bool:
    """Return whether most of these frames have no colour, as from infra-red cameras at night.

    This is not a fault of the camera, but a model trained on colour images may fail on them.

    Args:
        frames: RGB, each of shape (H, W, 3), uint8.
    """
    answers = [_colour(frame) < _COLOURLESS for frame in frames]
    return sum(answers) > _MOST * len(answers)


def _colour(frame: NDArray[np.uint8]) -> float:
    """The mean spread of the colour channels of a frame, in grey levels."""
    from PIL import Image

    channels = np.asarray(Image.fromarray(frame).reduce(4), dtype=np.float32)
    return float((channels.max(axis=2) - channels.min(axis=2)).mean())


def _lasting(counts: dict[FaultKind, int], total: int) -> Iterable[CameraFault]:
    for kind in FaultKind:
        # The first frame cannot be frozen.
        chances = total - 1 if kind is FaultKind.FROZEN else total
        if counts.get(kind, 0) and counts[kind] >= _MOST * chances:
            yield CameraFault(kind=kind, frames=counts[kind], of=total)


def _faults_of(frame: NDArray[np.uint8]) -> list[FaultKind]:
    grey = _small(frame)
    contrast = float(grey.std())
    low, high = np.percentile(grey, (1, 99))
    if high < _DARK:
        # Nothing else can be seen in a black picture.
        return [FaultKind.DARK]
    if low > _WASHED_FLOOR and contrast < _WASHED_CONTRAST:
        return [FaultKind.WASHED_OUT]
    if contrast >= _FLAT and _sharpness(grey) < _BLURRED * contrast:
        return [FaultKind.BLURRED]
    return []


def _small(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The frame in grey, its longer side 160 pixels, shape (h, w); averaging removes noise."""
    from PIL import Image

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
