"""Makes the INT8 IR of a variant from an FP32 IR: what is tried, and what is kept.

    calibrate on train -> mixed, performance -> the better on val
                          both lose too much -> accuracy control on one half of val,
                                                measured again on the other

No label of the evaluation set is used. For FP16 nothing is to be chosen: `runner.py` calls
`vision/ir/compression.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from guardianflow.lifecycle.quantization.calibration import (
    Statistics,
    choose,
    refuse_evaluated,
    refuse_unlike,
)
from guardianflow.scenario import QuantizationSettings
from guardianflow.stored import Stored
from guardianflow.vision.data.dataset import load_image
from guardianflow.vision.data.sample import Dataset, Sample
from guardianflow.vision.ir import compression, ir
from guardianflow.vision.ir.compression import Preset
from guardianflow.vision.ir.serving import (
    MEASURING_THRESHOLD,
    InputGeometry,
    IrDetector,
    place_frame,
    select,
)
from guardianflow.vision.metrics.detections import Detections, detect
from guardianflow.vision.metrics.evaluation import evaluate
from guardianflow.vision.metrics.latency import measure_latency

Report = Callable[[str, int, int], None]
"""Called with a step, how much of it is done, and out of how much."""

_COMPARED = 64
_TIMED_FRAMES = 8
_TIMED_ROUNDS = 30
# A smaller difference on val is chance; then the faster one is kept if it is faster by a tenth, as
# less is noise of the machine.
_EQUAL = 0.002
_FASTER = 0.9


class Trial(BaseModel):
    """One way of quantizing, on images that set no ranges."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset = Field(description="NNCF's preset.")
    controlled: bool = Field(description="Whether accuracy control left layers in FP32.")
    images: int = Field(description="Images of val that it was measured on.")
    map50_95: float = Field(description="mAP50-95 on them.")
    drop: float = Field(description="How much the FP32 IR has more on the same images.")
    p50_ms: float = Field(description="Median of one frame, in turns with the other trials.")


class Making(Stored):
    """How an INT8 IR came about."""

    kept: Trial = Field(description="What was kept.")
    trials: tuple[Trial, ...] = Field(description="What was tried.")
    calibration: Statistics = Field(description="Pixels of the images that set the ranges.")
    evaluation: Statistics = Field(description="Pixels of images of the evaluation set.")


@dataclass(frozen=True)
class _Attempt:
    folder: Path
    trial: Trial


def make_int8(
    settings: QuantizationSettings,
    fp32: Path,
    dataset: Dataset,
    folder: Path,
    report: Report,
) -> tuple[Path, Making]:
    """Quantize a plain FP32 IR: train sets the ranges, val decides.

    All attempts are written below `folder`; the IR that was kept is returned with how it was made.

    Raises:
        CalibrationUnfit: The calibration images are unlike the evaluation images, or among them.
    """
    geometry = IrDetector(fp32).geometry
    val, test = dataset.samples("val"), dataset.samples("test")
    chosen = choose(
        dataset.samples("train"),
        settings.calibration_images,
        geometry,
        on_progress=partial(report, "calibrate"),
    )
    refuse_evaluated(chosen.samples, (*val, *test))
    statistics = refuse_unlike(chosen.squares, _squares(test, geometry))
    presets = _presets(settings)
    made: list[Path] = []
    for index, preset in enumerate(presets):
        report("quantize", index, len(presets))
        quantized = compression.quantize_ir(fp32, chosen.squares, preset)
        made.append(ir.save(quantized, folder / preset.value))
    report("quantize", len(presets), len(presets))
    attempts = _try(fp32, dict(zip(presets, made, strict=True)), val, dataset.classes)
    kept = _better(attempts)
    if settings.preset == "auto" and kept.trial.drop > settings.max_drop and len(val) > 1:
        kept = _control(fp32, chosen.squares, kept.trial.preset, dataset, folder, settings.max_drop)
        attempts.append(kept)
    return kept.folder, Making(
        kept=kept.trial,
        trials=tuple(attempt.trial for attempt in attempts),
        calibration=statistics[0],
        evaluation=statistics[1],
    )


def _presets(settings: QuantizationSettings) -> Sequence[Preset]:
    match settings.preset:
        case "auto":
            return tuple(Preset)
        case "mixed" | "performance":
            return (Preset(settings.preset),)
        case _:
            assert_never(settings.preset)


def _squares(samples: Sequence[Sample], geometry: InputGeometry) -> list[NDArray[np.uint8]]:
    """Return some images of a split, evenly spread, as the network sees them."""
    count = min(_COMPARED, len(samples))
    chosen = np.linspace(0, len(samples) - 1, count).round().astype(int).tolist()
    return [place_frame(load_image(samples[index].image), geometry).picture for index in chosen]


def _try(
    fp32: Path, made: dict[Preset, Path], val: Sequence[Sample], classes: Sequence[str]
) -> list[_Attempt]:
    """Measure accuracy and latency of the attempts on val."""
    times = _p50_ms({preset.value: IrDetector(folder) for preset, folder in made.items()}, val)
    before = _map50_95(fp32, val, classes)
    attempts: list[_Attempt] = []
    for preset, folder in made.items():
        after = _map50_95(folder, val, classes)
        trial = Trial(
            preset=preset,
            controlled=False,
            images=len(val),
            map50_95=after,
            drop=before - after,
            p50_ms=times[preset.value],
        )
        attempts.append(_Attempt(folder, trial))
    return attempts


def _better(attempts: Sequence[_Attempt]) -> _Attempt:
    """Return the most accurate attempt, or an equally accurate one that is clearly faster."""
    best = max(attempts, key=lambda attempt: attempt.trial.map50_95)
    equal = [a for a in attempts if a.trial.map50_95 >= best.trial.map50_95 - _EQUAL]
    fastest = min(equal, key=lambda attempt: attempt.trial.p50_ms)
    return fastest if fastest.trial.p50_ms < _FASTER * best.trial.p50_ms else best


def _control(
    fp32: Path,
    squares: compression.Squares,
    preset: Preset,
    dataset: Dataset,
    folder: Path,
    max_drop: float,
) -> _Attempt:
    """Quantize with accuracy control, the last resort.

    It limits the loss only on the images that it looks at, so it is measured on others.
    """
    val, classes = dataset.samples("val"), dataset.classes
    looked_at, unseen = val[::2], val[1::2]
    geometry = IrDetector(fp32).geometry

    def measure(compiled: Any) -> float:
        found = [_look(compiled, load_image(sample.image), geometry) for sample in looked_at]
        return evaluate(found, looked_at, classes).map50_95

    quantized = compression.quantize_within(fp32, squares, preset, measure, max_drop)
    saved = ir.save(quantized, folder / "controlled")
    before, after = (_map50_95(made, unseen, classes) for made in (fp32, saved))
    trial = Trial(
        preset=preset,
        controlled=True,
        images=len(unseen),
        map50_95=after,
        drop=before - after,
        p50_ms=_p50_ms({"controlled": IrDetector(saved)}, val)["controlled"],
    )
    return _Attempt(saved, trial)


def _p50_ms(detectors: Mapping[str, IrDetector], val: Sequence[Sample]) -> dict[str, float]:
    frames = [load_image(sample.image) for sample in val[:_TIMED_FRAMES]]
    times = measure_latency(detectors, frames, repeats=_TIMED_ROUNDS)
    return {name: latency.p50_ms for name, latency in times.items()}


def _map50_95(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> float:
    return evaluate(detect(IrDetector(folder), samples), samples, classes).map50_95


def _look(compiled: Any, frame: NDArray[np.uint8], geometry: InputGeometry) -> Detections:
    """Detect as `IrDetector` does, with a model that NNCF has compiled."""
    placed = place_frame(frame, geometry)
    boxes, scores = (compiled(placed.picture[None])[index][0] for index in (0, 1))
    kept, best, labels = select(boxes, scores, MEASURING_THRESHOLD)
    return Detections(placed.in_frame(kept, frame), best, labels)
