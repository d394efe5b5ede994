"""Compresses an FP32 IR to INT8 (by NNCF) or FP16.

    FP32 IR --quantize_ir, ranges from squares---------------> INT8 IR
            --quantize_within, the costliest layers stay FP32-> INT8 IR in part
            --halve-------------------------------------------> FP16 IR (only the weights)

What stays in float, and how NNCF treats the rest, depends on the graph (`int8_plan.py`).
"""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from guardianflow.vision.ir import ir
from guardianflow.vision.ir.int8_plan import BiasCorrection, ModelType, read_plan
from guardianflow.vision.ir.serving import read_rt_info, split_names

Squares = Sequence[NDArray[np.uint8]]
"""Letterboxed frames, each of shape (S, S, 3), uint8."""


class Preset(StrEnum):
    """NNCF's presets: symmetric (performance) or also asymmetric (mixed) activation ranges."""

    MIXED = "mixed"
    PERFORMANCE = "performance"


def quantize_ir(fp32: Path, squares: Squares, preset: Preset) -> ov.Model:
    """Quantize the FP32 IR in a folder to INT8; the calibration frames set the ranges."""
    import nncf

    model, classes = _read(fp32)
    with _quiet():
        quantized = nncf.quantize(
            model,
            nncf.Dataset([square[None] for square in squares]),
            advanced_parameters=_advanced(),
            **_settings(model, squares, preset),
        )
    ir.describe(quantized, classes=classes, precision="int8")
    return quantized


def quantize_within(
    fp32: Path,
    squares: Squares,
    preset: Preset,
    measure: Callable[[ov.Model], float],
    max_drop: float,
) -> ov.Model:
    """Quantize as `quantize_ir` does, but keep the layers in FP32 that cost the most accuracy.

    Args:
        fp32: The folder.
        squares: The calibration frames.
        preset: The preset.
        measure: Returns the accuracy of a plain IR; higher is better.
        max_drop: How far it may drop. This holds only on the images that `measure` uses.
    """
    import nncf

    model, classes = _read(fp32)

    def figure(compiled: Any, _items: object) -> tuple[float, None]:
        return measure(compiled), None

    with _quiet():
        quantized = nncf.quantize_with_accuracy_control(
            model,
            nncf.Dataset([square[None] for square in squares]),
            nncf.Dataset([square[None] for square in squares[:1]]),
            figure,
            max_drop=max_drop,
            advanced_quantization_parameters=_advanced(),
            **_settings(model, squares, preset),
        )
    ir.describe(quantized, classes=classes, precision="int8")
    return quantized


def halve(fp32: Path, folder: Path) -> Path:
    """Write the IR with FP16 weights into a folder and return it; it still computes in FP32."""
    model, classes = _read(fp32)
    ir.describe(model, classes=classes, precision="fp16")
    folder.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, folder / ir.FILE, compress_to_fp16=True)
    return folder


def _settings(model: ov.Model, squares: Squares, preset: Preset) -> dict[str, Any]:
    import nncf

    plan = read_plan(model)
    transformer = plan.model_type is ModelType.TRANSFORMER
    return {
        "subset_size": len(squares),
        "preset": nncf.QuantizationPreset(preset.value),
        "model_type": nncf.ModelType.TRANSFORMER if transformer else None,
        "fast_bias_correction": plan.bias_correction is BiasCorrection.FAST,
        "ignored_scope": nncf.IgnoredScope(names=plan.ignored, validate=False),
    }


def _advanced() -> Any:
    """Return settings that avoid overflow without VNNI, where 8-bit products are added in 16 bits.

    The first layer takes bytes up to 255 and overflows first; with weights of half the range it
    cannot (decision 0013 has the figures). This is NNCF's default today, fixed here.
    """
    import nncf
    from nncf.quantization.advanced_parameters import OverflowFix

    return nncf.AdvancedQuantizationParameters(overflow_fix=OverflowFix.FIRST_LAYER)


def _read(folder: Path) -> tuple[ov.Model, list[str]]:
    model = ov.Core().read_model(folder / ir.FILE)
    return model, list(split_names(read_rt_info(model, "classes")))


@contextmanager
def _quiet() -> Generator[None]:
    """Suppress NNCF's progress bars and notes: our output may have to be JSON."""
    logger = logging.getLogger("nncf")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logger.setLevel(before)
