"""The OpenVINO IR: converted from the network, described, saved.

    Detector --convert_network--> FP32 IR        model.xml + model.bin

The IR contains its class names, the precision of its weights and the operating threshold of each
class (`rt_info` group `guardianflow`), so that a served model needs no other file.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import openvino as ov

if TYPE_CHECKING:
    from guardianflow.vision.network.detector import Detector

FILE = "model.xml"


def convert_network(detector: "Detector", classes: Sequence[str]) -> ov.Model:
    """Convert a trained network to an FP32 IR.

    It takes one square frame (1, S, S, 3), uint8, RGB, and outputs boxes (1, A, 4), x1, y1, x2, y2
    in pixels of the square, and scores (1, A, C), both float32.
    The detector must be on the CPU.
    """
    import torch

    from guardianflow.vision.network.detector import ExportedDetector

    size = detector.shape.image_size
    frames = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        # OpenVINO still traces; torch calls that deprecated in two places.
        for name in ("trace", "trace_method"):
            warnings.filterwarnings(
                "ignore", rf"`torch\.jit\.{name}` is deprecated", DeprecationWarning
            )
        model = ov.convert_model(
            ExportedDetector(detector).eval(), example_input=frames, input=[1, size, size, 3]
        )
    describe(model, classes=classes, precision="fp32")
    return model


def save(model: ov.Model, folder: Path) -> Path:
    """Write model.xml and model.bin into a folder, weights unchanged, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    # The default would silently compress the weights of an FP32 model to FP16.
    ov.save_model(model, folder / FILE, compress_to_fp16=False)
    return folder


def describe(
    model: ov.Model,
    *,
    classes: Sequence[str],
    precision: str,
    thresholds: Sequence[float] | None = None,
    geometry: tuple[int, int, str] | None = None,
) -> None:
    """Write class names, the precision of the weights (e.g. `int8`) and more into a model.

    A threshold is the lowest score of a shown box of its class; a geometry is a
    `serving.InputGeometry`. None leaves them as they are.
    """
    model.set_rt_info(join_names(classes), ["guardianflow", "classes"])
    model.set_rt_info(precision, ["guardianflow", "precision"])
    if thresholds is not None:
        model.set_rt_info(",".join(map(str, thresholds)), ["guardianflow", "thresholds"])
    if geometry is not None:
        model.set_rt_info(" ".join(map(str, geometry)), ["guardianflow", "geometry"])


def join_names(names: Sequence[str]) -> str:
    """Return class names as an IR stores them: `a,b`; as JSON if a name contains a comma."""
    plain = not any("," in name or name.startswith("[") for name in names)
    return ",".join(names) if plain else json.dumps(list(names), ensure_ascii=False)


def set_thresholds(folder: Path, thresholds: Sequence[float]) -> None:
    """Write the operating threshold of each class into a saved IR."""
    model = ov.Core().read_model(folder / FILE)
    model.set_rt_info(",".join(map(str, thresholds)), ["guardianflow", "thresholds"])
    with TemporaryDirectory(dir=folder) as text:
        # The model maps its weights from this file: replace it, do not write into it.
        for file in sorted(save(model, Path(text)).iterdir()):
            file.replace(folder / file.name)
