"""What a variant costs, and whether it is faster than its base: FASTER, SLOWER or INCONCLUSIVE.

The base may compute in float32 or in the precision that OpenVINO chooses (BF16 on some processors).
The variant has to beat the faster of the two, as neither needs quantization. Figures from one kind
of machine say nothing about another, so each has its own report (`variant_records`).
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from guardianflow.scenario import Precision
from guardianflow.stored import Stored
from guardianflow.vision.metrics.comparison import PairedComparison
from guardianflow.vision.metrics.latency import (
    Latency,
    cpu_name,
    instruction_set,
    summarize,
    time_in_turns,
)

if TYPE_CHECKING:
    from guardianflow.vision.ir.serving import IrDetector

# How often each is timed.
_ROUNDS = 60
_DRAWS = 2000
_SEED = 20240229


class SpeedVerdict(StrEnum):
    """What the interval of the speed-up says about a variant."""

    FASTER = "FASTER"
    SLOWER = "SLOWER"
    INCONCLUSIVE = "INCONCLUSIVE"


class SpeedReport(Stored):
    """A variant against its base on one kind of machine, frame by frame in turns."""

    verdict: SpeedVerdict = Field(description="INCONCLUSIVE where the interval holds 1.")
    speedup: float = Field(description="Median of the base through median of the variant.")
    low: float = Field(description="Lower end of its 95 % interval, a bootstrap over the rounds.")
    high: float = Field(description="Upper end.")
    against: str = Field(description="In what the base was fastest without quantization: f32, bf16")
    machine: str = Field(description="Instruction set and CPU: where this holds.")
    fp32: Latency = Field(description="The base, computed in float32.")
    default: Latency = Field(
        description="The base in the precision that OpenVINO chooses here, if it can compute it."
    )
    variant: Latency = Field(description="The variant.")

    def sentence(self) -> str:
        """Return the verdict with its figures, for people."""
        return (
            f"{self.verdict}: {self.speedup:.2f}x ({self.low:.2f} to {self.high:.2f}) against "
            f"{self.against} on {self.variant.instruction_set}, {self.variant.cpu}"
        )

    @property
    def source_ms(self) -> float:
        """Median of the faster of the two that need no quantization."""
        return min(self.fp32.p50_ms, self.default.p50_ms)

    def metrics(self, prefix: str) -> dict[str, float]:
        """Return the speed-up as flat metrics, e.g. `latency.speedup_low`."""
        return {
            f"{prefix}speedup": self.speedup,
            f"{prefix}speedup_low": self.low,
            f"{prefix}speedup_high": self.high,
        }


class VariantCost(Stored):
    """A variant against its source: accuracy, size, and speed on this kind of machine."""

    precision: Precision = Field(description="Number format of the variant's weights.")
    difference: PairedComparison = Field(description="On the evaluation set, paired.")
    size_kib: float = Field(description="Of the variant's IR.")
    source_size_kib: float = Field(description="Of the source's IR.")
    speed: SpeedReport | None = Field(
        default=None, description="Measured on such a machine as this; None: not yet."
    )
    measured_on: tuple[str, ...] = Field(default=(), description="Where speed was measured.")


def machine() -> str:
    """Return the kind of this machine, as it appears in file names and tags."""
    cpu = re.sub(r"[^A-Za-z0-9.]+", "-", cpu_name()).strip("-")
    return f"{instruction_set()}--{cpu}"


def compare_speed(base: Path, variant: Path, frames: Sequence[NDArray[np.uint8]]) -> SpeedReport:
    """Time the IRs that a variant and its base serve in turns, each in one thread.

    Frames are RGB images, each of shape (H, W, 3), uint8; they are used in turn.
    """
    from guardianflow.vision.ir.serving import IrDetector

    detectors = {
        "fp32": IrDetector(base),
        "default": _as_openvino_chooses(base),
        "variant": IrDetector(variant),
    }
    times = time_in_turns(detectors, frames, _ROUNDS)
    figures = {name: summarize(detectors[name], times[name]) for name in detectors}
    best = min(("fp32", "default"), key=lambda name: figures[name].p50_ms)
    speedup, low, high = ratio_of_medians(times[best], times["variant"])
    return SpeedReport(
        verdict=_verdict(low, high),
        speedup=speedup,
        low=low,
        high=high,
        against=figures[best].precision,
        machine=machine(),
        fp32=figures["fp32"],
        default=figures["default"],
        variant=figures["variant"],
    )


def _as_openvino_chooses(base: Path) -> "IrDetector":
    """Load the base in OpenVINO's own precision, or in float32 where that fails.

    OpenVINO chooses bf16 by the processor, even if oneDNN is limited (ONEDNN_MAX_CPU_ISA) to
    instructions that have no pooling in bf16.
    """
    from guardianflow.vision.ir.serving import IrDetector

    try:
        return IrDetector(base, inference_precision="default")
    except RuntimeError:
        return IrDetector(base)


def _verdict(low: float, high: float) -> SpeedVerdict:
    if low > 1.0:
        return SpeedVerdict.FASTER
    return SpeedVerdict.SLOWER if high < 1.0 else SpeedVerdict.INCONCLUSIVE


def ratio_of_medians(
    before: NDArray[np.float64], after: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Return the ratio of the medians with its interval; the rounds are drawn as pairs."""
    random = np.random.default_rng(_SEED)
    drawn = random.integers(len(before), size=(_DRAWS, len(before)))
    ratios = np.median(before[drawn], axis=1) / np.median(after[drawn], axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975)).tolist()
    return float(np.median(before) / np.median(after)), low, high
