"""What two versions cost on this machine: time per frame, files and memory, as a box runs them.

both loaded, one thread, f32 -> frames in turns -> ratio of the medians with its interval
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from guardianflow.evaluation.memory import measure_memory
from guardianflow.evaluation.speed import ratio_of_medians
from guardianflow.vision.metrics.latency import Latency, summarize, time_in_turns

ROUNDS = 60
"""How often each is timed."""


class VersionCost(BaseModel):
    """What one version costs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_mib: float = Field(description="Of the files that a box loads.")
    latency: Latency | None = Field(
        default=None, description="From a frame to its detections, here and now; None: not timed."
    )
    memory_mib: float | None = Field(
        default=None,
        description="By how much a process grows that loads and runs it; None: not measured.",
    )


class TimeRatio(BaseModel):
    """The time per frame of the second through that of the first, taken in turns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(description="Of the medians; above 1 the second takes longer.")
    low: float = Field(description="Lower end of its 95 % interval, a bootstrap over the rounds.")
    high: float = Field(description="Upper end.")


class CostComparison(BaseModel):
    """What two versions cost; None for one whose files are gone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: VersionCost | None = Field(description="The one that is compared with.")
    second: VersionCost | None = Field(description="The one that is compared.")
    time_ratio: TimeRatio | None = Field(
        default=None, description="None unless both were timed in the same run."
    )
    busy: bool = Field(
        default=False,
        description="Whether other work kept the machine busy: the ratio holds, the times less.",
    )


def weigh(first: Path | None, second: Path | None) -> CostComparison:
    """Say how large the files of two versions are; nothing is run.

    Both are folders of an IR, None where the files are gone.
    """
    sizes = [VersionCost(size_mib=_size_mib(one)) if one else None for one in (first, second)]
    return CostComparison(first=sizes[0], second=sizes[1])


def measure_cost(
    first: Path | None, second: Path | None, frames: Sequence[NDArray[np.uint8]]
) -> CostComparison:
    """Time two versions in turns, each in one thread, and tell their memory.

    Frames are RGB images, each of shape (H, W, 3), uint8; they are used in turn.
    """
    folders = {"first": first, "second": second}
    busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    present = {role: folder for role, folder in folders.items() if folder}
    times, latencies = _timed(present, frames)
    costs = {
        role: VersionCost(
            size_mib=_size_mib(folder),
            latency=latencies[role],
            memory_mib=measure_memory(folder),
        )
        for role, folder in present.items()
    }
    ratio = None
    if len(times) == len(folders):
        value, low, high = ratio_of_medians(times["second"], times["first"])
        ratio = TimeRatio(value=value, low=low, high=high)
    return CostComparison(
        first=costs.get("first"), second=costs.get("second"), time_ratio=ratio, busy=busy
    )


def _timed(
    folders: Mapping[str, Path], frames: Sequence[NDArray[np.uint8]]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Latency]]:
    from guardianflow.vision.ir.serving import IrDetector

    detectors = {role: IrDetector(folder) for role, folder in folders.items()}
    times = time_in_turns(detectors, frames, ROUNDS)
    return times, {role: summarize(one, times[role]) for role, one in detectors.items()}


def _size_mib(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) / 2**20
