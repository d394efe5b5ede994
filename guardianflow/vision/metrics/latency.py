"""Measures the time for one frame, and records the machine.

Times on one instruction set say nothing about another, and OpenVINO's default precision differs
between processors, so both are recorded. Detectors that are compared take turns, so that load on
the machine affects all of them alike.
"""

import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from guardianflow.stored import Strict

if TYPE_CHECKING:
    from guardianflow.vision.ir.serving import IrDetector

_WARM_UP = 3
# Instruction sets for INT8 and BF16, the fastest first, by Linux's names of the CPU flags.
_INSTRUCTIONS = (
    ("amx_int8", "AMX"),
    ("avx512_vnni", "AVX512-VNNI"),
    ("avx_vnni", "AVX-VNNI"),
    ("avx512f", "AVX512"),
    ("avx2", "AVX2"),
    ("asimddp", "NEON-DOTPROD"),
    ("asimd", "NEON"),
)


class Latency(Strict):
    """Time from a frame to its detections, with letterbox and suppression."""

    p50_ms: float = Field(description="Median.")
    p95_ms: float = Field(description="95th percentile.")
    precision: str = Field(description="int8 for quantized weights, else the compute precision.")
    instruction_set: str = Field(description="The CPU's fastest, e.g. AVX512-VNNI.")
    cpu: str = Field(description="The CPU's name.")
    threads: int = Field(description="CPU threads.")
    image_size: int = Field(description="Side of the network's input in pixels.")
    repeats: int = Field(description="Frames that were timed.")

    def metrics(self, prefix: str) -> dict[str, float]:
        """Return the figures as flat metrics, e.g. `latency.int8.p50_ms`."""
        return {f"{prefix}p50_ms": self.p50_ms, f"{prefix}p95_ms": self.p95_ms}


def measure_latency(
    detectors: "Mapping[str, IrDetector]", frames: Sequence[NDArray[np.uint8]], *, repeats: int = 60
) -> dict[str, Latency]:
    """Time several detectors, interleaved, each on so many frames.

    The frames are RGB, each of shape (H, W, 3), uint8, and are used in turn.
    """
    times = time_in_turns(detectors, frames, repeats)
    return {name: summarize(detector, times[name]) for name, detector in detectors.items()}


def time_in_turns(
    detectors: "Mapping[str, IrDetector]", frames: Sequence[NDArray[np.uint8]], rounds: int
) -> dict[str, NDArray[np.float64]]:
    """Return the milliseconds of each detector in each round, shape (rounds,), float64."""
    times: dict[str, list[float]] = {name: [] for name in detectors}
    for index in range(_WARM_UP + rounds):
        frame = frames[index % len(frames)]
        for name, detector in detectors.items():
            start = time.perf_counter()
            detector.predict([frame], detector.thresholds)
            if index >= _WARM_UP:
                times[name].append((time.perf_counter() - start) * 1000)
    return {name: np.asarray(values) for name, values in times.items()}


def summarize(detector: "IrDetector", times: NDArray[np.float64]) -> Latency:
    """Return the latency of a detector on this machine from its times in milliseconds."""
    return Latency(
        p50_ms=float(np.percentile(times, 50)),
        p95_ms=float(np.percentile(times, 95)),
        # Weights of 16 bits are computed as the others are; quantized ones as what they are.
        precision=detector.inference_precision
        if detector.weights_precision in ("fp32", "fp16")
        else detector.weights_precision,
        instruction_set=instruction_set(),
        cpu=cpu_name(),
        threads=detector.threads,
        image_size=detector.image_size,
        repeats=len(times),
    )


def instruction_set() -> str:
    """Return the fastest relevant instruction set of this CPU; the architecture if unknown."""
    flags = set(_cpuinfo("flags").split()) | set(_cpuinfo("Features").split())
    return next((name for flag, name in _INSTRUCTIONS if flag in flags), platform.machine())


def cpu_name() -> str:
    """Return the name of this CPU."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == key), "")
