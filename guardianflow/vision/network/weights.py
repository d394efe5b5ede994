"""Trained weights: best.pt, read without running code, and a start from other classes."""

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch

from guardianflow.errors import ArtifactMissing
from guardianflow.machine.disk import write_whole
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import Architecture, Detector, DetectorShape

FILE = "best.pt"
_FORMAT = 1
# Another network than ours: earlier versions, which know only ours, say that they cannot read it.
_WITH_ARCHITECTURE = 2
# The last layer of each head has a row per class. Classes share all other layers.
_PER_CLASS = (".logits.weight", ".logits.bias")


def save_weights(detector: Detector, classes: tuple[str, ...], folder: Path) -> Path:
    """Write best.pt into a folder atomically, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path, buffer = folder / FILE, io.BytesIO()
    shape = {**asdict(detector.shape), "architecture": detector.shape.architecture.value}
    ours = detector.shape.architecture is Architecture.CSP
    if ours:
        del shape["architecture"]
    content = {
        "format": _FORMAT if ours else _WITH_ARCHITECTURE,
        "shape": shape,
        "classes": list(classes),
        "state": {key: value.contiguous() for key, value in detector.state_dict().items()},
    }
    torch.save(content, buffer)
    write_whole(path, buffer.getbuffer())
    return path


def load_weights(path: Path) -> tuple[Detector, tuple[str, ...]]:
    """Read best.pt; return the detector in evaluation mode, and its class names.

    Raises:
        ArtifactMissing: `save_weights` did not write this file.
    """
    content = torch.load(path, map_location="cpu", weights_only=True)
    formats = (_FORMAT, _WITH_ARCHITECTURE)
    if not isinstance(content, dict) or content.get("format") not in formats:
        raise ArtifactMissing(
            f"{path} does not contain weights of guardianflow (format 1 or 2).",
            remedy="Use weights/best.pt of a training run.",
            file=str(path),
        )
    shape = content["shape"]
    architecture = Architecture(shape.pop("architecture", Architecture.CSP))
    detector = make_detector(DetectorShape(**shape, architecture=architecture))
    detector.load_state_dict(content["state"])
    return detector.eval(), tuple(cast("list[str]", content["classes"]))


def carry_over(
    source: Detector,
    known: Sequence[str],
    shape: DetectorShape,
    classes: Sequence[str],
    *,
    seed: int,
) -> Detector:
    """Make a detector with the weights of another one; new classes start with random weights.

    The source knows the classes `known` and has the same width; its input size may differ. Names
    are in the order of their indices.

    Raises:
        ValueError: A layer is missing in the source, or has another shape.
    """
    torch.manual_seed(seed)
    detector = make_detector(shape)
    theirs = source.state_dict()
    rows = [(classes.index(name), known.index(name)) for name in classes if name in known]
    state = detector.state_dict()
    for key, value in state.items():
        if key not in theirs:
            raise ValueError(f"it has no layer {key}")
        if key.endswith(_PER_CLASS):
            for own, other in rows:
                value[own] = theirs[key][other]
        elif value.shape == theirs[key].shape:
            value.copy_(theirs[key])
        else:
            raise ValueError(f"{key} is {tuple(theirs[key].shape)}, not {tuple(value.shape)}")
    return detector
