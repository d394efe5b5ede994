"""Makes the INT8 IR of a variant from an FP32 IR: what is tried, and what is kept.

    calibrate on train -> mixed, performance -> the better on val
                          both lose too much -> accuracy control on one half of val,
                                                measured again on the other
                          what was kept answers unlike its source: QuantizationUnfit

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

from guardianflow.errors import QuantizationUnfit
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
from guardianflow.vision.ir.int8_plan import Int8Plan, plan_of
from guardianflow.vision.ir.serving import (
    MEASURING_THRESHOLD,
    InputGeometry,
    IrDetector,
    place_frame,
    select,
)
from guardianflow.vision.metrics.agreement import agreement
from guardianflow.vision.metrics.detections import Detections, Seen, detect
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
# Figures of decision 0041: whole quantizations agree in nine boxes of ten, broken ones in few.
_MIN_AGREEMENT = 0.5


class Trial(BaseModel):
    """One way of quantizing, on images that set no ranges."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset = Field(description="NNCF's preset.")
    controlled: bool = Field(description="Whether accuracy control left layers in FP32.")
    images: int = Field(description="Images of val that it was measured on.")
    map50_95: float = Field(description="mAP50-95 on them.")
    drop: float = Field(description="How much the FP32 IR has more on the same images.")
    p50_ms: float = Field(description="Median of one frame, in turns with the other trials.")
    agreement: float | None = Field(
        default=None, description="Share of shown boxes that both have, it and the FP32 IR."
    )


class Making(Stored):
    """How an INT8 IR came about."""

    kept: Trial = Field(description="What was kept.")
    trials: tuple[Trial, ...] = Field(description="What was tried.")
    calibration: Statistics = Field(description="Pixels of the images that set the ranges.")
    evaluation: Statistics = Field(description="Pixels of images of the evaluation set.")
    plan: Int8Plan | None = Field(
        default=None, description="What the graph said: what was left in float, and why."
    )


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
        QuantizationUnfit: What was made answers unlike the FP32 IR.
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
    _refuse_unlike_source(kept.trial)
    return kept.folder, Making(
        kept=kept.trial,
        trials=tuple(attempt.trial for attempt in attempts),
        calibration=statistics[0],
        evaluation=statistics[1],
        plan=plan_of(fp32),
    )


def _refuse_unlike_source(kept: Trial) -> None:
    """Refuse a variant that is broken; smaller losses are for the gate to judge."""
    if kept.agreement is None or kept.agreement >= _MIN_AGREEMENT:
        return
    raise QuantizationUnfit(
        f"The INT8 variant answers unlike its source: on {kept.images} images of val they share "
        f"{kept.agreement:.0%} of the boxes that are shown, at least {_MIN_AGREEMENT:.0%} are "
        f"needed; mAP50-95 went from {kept.map50_95 + kept.drop:.3f} to {kept.map50_95:.3f}. "
        "Nothing was registered.",
        remedy="Make the variant fp16 instead (`quantization: {variants: [fp16]}` in a new "
        "version of the scenario), or add train images like those of val and quantize again.",
        agreement=kept.agreement,
        map50_95=kept.map50_95,
        drop=kept.drop,
        images=kept.images,
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
    source = _see(fp32, val)
    return [
        _Attempt(
            folder,
            _trial(preset, source, _see(folder, val), val, classes, times[preset.value]),
        )
        for preset, folder in made.items()
    ]


def _trial(
    preset: Preset,
    source: Seen,
    seen: Seen,
    samples: Sequence[Sample],
    classes: Sequence[str],
    p50_ms: float,
) -> Trial:
    before, after = (evaluate(one.detections, samples, classes).map50_95 for one in (source, seen))
    return Trial(
        preset=preset,
        controlled=False,
        images=len(samples),
        map50_95=after,
        drop=before - after,
        p50_ms=p50_ms,
        agreement=agreement(source, seen),
    )


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
    time = _p50_ms({"controlled": IrDetector(saved)}, val)["controlled"]
    trial = _trial(preset, _see(fp32, unseen), _see(saved, unseen), unseen, classes, time)
    return _Attempt(saved, trial.model_copy(update={"controlled": True}))


def _p50_ms(detectors: Mapping[str, IrDetector], val: Sequence[Sample]) -> dict[str, float]:
    frames = [load_image(sample.image) for sample in val[:_TIMED_FRAMES]]
    times = measure_latency(detectors, frames, repeats=_TIMED_ROUNDS)
    return {name: latency.p50_ms for name, latency in times.items()}


def _see(folder: Path, samples: Sequence[Sample]) -> Seen:
    detector = IrDetector(folder)
    return Seen(detect(detector, samples), detector.thresholds)


def _look(compiled: Any, frame: NDArray[np.uint8], geometry: InputGeometry) -> Detections:
    """Detect as `IrDetector` does, with a model that NNCF has compiled."""
    placed = place_frame(frame, geometry)
    boxes, scores = (compiled(placed.picture[None])[index][0] for index in (0, 1))
    kept, best, labels = select(boxes, scores, MEASURING_THRESHOLD)
    return Detections(placed.in_frame(kept, frame), best, labels)
