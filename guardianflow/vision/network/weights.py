"""best.pt: trained weights as plain tensors and values, read without running code."""

import io
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch

from guardianflow.errors import ArtifactMissing
from guardianflow.machine.disk import write_whole
from guardianflow.vision.network.detector import Detector, DetectorShape

FILE = "best.pt"
_FORMAT = 1


def save_weights(detector: Detector, classes: tuple[str, ...], folder: Path) -> Path:
    """Write best.pt into a folder atomically, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path, buffer = folder / FILE, io.BytesIO()
    content = {
        "format": _FORMAT,
        "shape": asdict(detector.shape),
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
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ArtifactMissing(
            f"{path} does not contain weights of guardianflow (format {_FORMAT}).",
            remedy="Use weights/best.pt of a training run.",
            file=str(path),
        )
    detector = Detector(DetectorShape(**content["shape"]))
    detector.load_state_dict(content["state"])
    return detector.eval(), tuple(cast("list[str]", content["classes"]))
