"""The OpenVINO IR: made from the network, described, saved; telemetry of openvino and nncf is off.

    Detector --convert--> FP32 IR        model.xml + model.bin

The IR carries its class names, the precision of its weights and the score from which a box of each
class is shown (`rt_info` group `guardianflow`), so that a served model needs no other file.
"""

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino as ov

    from guardianflow.vision.network.detector import Detector

FILE = "model.xml"


def forbid_telemetry() -> None:
    """Keep openvino and nncf from phoning home; call it before either is imported.

    `import openvino` alone sends an event. No environment variable switches that off but `CI`,
    which means other things to other programs. Both libraries fall back to stubs where the
    telemetry package is not installed: so for this process it is not.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]


def convert_network(detector: "Detector", classes: Sequence[str]) -> "ov.Model":
    """The FP32 IR of a trained network: bytes of one square frame in, boxes and scores out.

    Args:
        detector: On the CPU.
        classes: Class names in the order of their indices.
    """
    forbid_telemetry()
    import openvino as ov
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


def save(model: "ov.Model", folder: Path) -> Path:
    """Write model.xml and model.bin into a folder, weights as they are, and return the folder."""
    import openvino as ov

    folder.mkdir(parents=True, exist_ok=True)
    # The default would silently halve the weights of an FP32 model.
    ov.save_model(model, folder / FILE, compress_to_fp16=False)
    return folder


def describe(
    model: "ov.Model",
    *,
    classes: Sequence[str],
    precision: str,
    thresholds: Sequence[float] | None = None,
) -> None:
    """Write into a model what it is.

    Args:
        model: Takes uint8 frames; answers boxes and scores.
        classes: Class names in the order of their indices.
        precision: Of the weights, e.g. `int8`.
        thresholds: From which score a box of each class is shown; None leaves them as they are.
    """
    model.set_rt_info(join_names(classes), ["guardianflow", "classes"])
    model.set_rt_info(precision, ["guardianflow", "precision"])
    if thresholds is not None:
        model.set_rt_info(",".join(map(str, thresholds)), ["guardianflow", "thresholds"])


def join_names(names: Sequence[str]) -> str:
    """Class names as an IR carries them: `a,b`; as JSON where a comma would be taken for two."""
    plain = not any("," in name or name.startswith("[") for name in names)
    return ",".join(names) if plain else json.dumps(list(names), ensure_ascii=False)


def set_thresholds(folder: Path, thresholds: Sequence[float]) -> None:
    """Write into a saved IR from which score a box of each class is shown."""
    import openvino as ov

    model = ov.Core().read_model(folder / FILE)
    model.set_rt_info(",".join(map(str, thresholds)), ["guardianflow", "thresholds"])
    with TemporaryDirectory(dir=folder) as text:
        # The model's weights lie in the very file: it is replaced, never written into.
        for file in sorted(save(model, Path(text)).iterdir()):
            file.replace(folder / file.name)
