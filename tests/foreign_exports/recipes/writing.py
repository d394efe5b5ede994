"""What every recipe shares: the frames, random weights that spread, and the file beside an export.

Runs in the environment of a foreign trainer, so it imports only numpy, Pillow, torch and onnx.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from PIL import Image
from torch import Tensor, nn

FOLDER = Path(__file__).parents[1]
# Not in the order of any scenario, so that an import has to reorder them.
CLASSES = ["forklift", "helmet", "person", "no_helmet"]
# Suppression of the product, so that both keep the same boxes (serving.OVERLAP).
OVERLAP = 0.6
MIN_SCORE = 0.05
KEPT = 20
_MAX_BYTES = 2**20

Detections = Sequence[Sequence[float]]
"""Rows of x1, y1, x2, y2 in pixels of the frame, score, class index."""


def frames() -> dict[str, np.ndarray]:
    """Return the frames by name: RGB, (H, W, 3), uint8."""
    paths = sorted((FOLDER / "frames").glob("*.png"))
    return {path.stem: np.asarray(Image.open(path).convert("RGB")) for path in paths}


def settle(model: nn.Module, run: Callable[[], object]) -> None:
    """Give batch norms the statistics of the frames, so that signals neither vanish nor explode."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        run()
    for norm in norms:
        norm.momentum = 0.1
        norm.eval()


def spread(layer: nn.Module, run: Callable[[], object], mean: float, std: float) -> None:
    """Scale a last layer so that each of its outputs has this mean and deviation on the frames."""
    if not layer.weight.any():
        # Heads of boxes start at zero, so that the first boxes are the anchors.
        nn.init.xavier_uniform_(layer.weight)
    if (seen := _answers(layer, run)) is not None:
        _scale(layer, std / seen.std(0).clamp(min=1e-6), seen.mean(0), mean)


def spread_scores(
    layer: nn.Module, run: Callable[[], object], mean: float = -3.0, best: float = 2.0
) -> None:
    """Scale a last layer so that each class has this mean logit, and this one at best."""
    if (seen := _answers(layer, run)) is not None:
        above = (seen.amax(0) - seen.mean(0)).clamp(min=1e-6)
        _scale(layer, (best - mean) / above, seen.mean(0), mean)


def _answers(layer: nn.Module, run: Callable[[], object]) -> Tensor | None:
    """What a layer answers on the frames, one row a place; None if it is for training only."""
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _layer, _given, answer: seen.append(answer.detach()))
    with torch.no_grad():
        run()
    hook.remove()
    if isinstance(layer, nn.Conv2d):
        seen = [answer.flatten(2).transpose(1, 2) for answer in seen]
    return torch.cat([answer.reshape(-1, answer.shape[-1]) for answer in seen]) if seen else None


def _scale(layer: nn.Module, scale: Tensor, old: Tensor, new: float) -> None:
    """Multiply a layer's outputs, and move their means from the old ones to the new one."""
    with torch.no_grad():
        layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.ndim - 1)))
        layer.bias.copy_((layer.bias - old) * scale + new)


def tidy(path: Path) -> None:
    """Drop from an ONNX file what the day and the place of its making leave in it.

    Intermediate shapes and stack traces take half of some files, and a runtime needs neither.
    """
    model = onnx.load(path)
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for entry in model.metadata_props:
        if entry.key == "date":
            entry.value = "2026-11-30T00:00:00+00:00"
    onnx.save(model, path)


def pixels(
    resize: str,
    *,
    channels: str = "rgb",
    value_range: str = "0..1",
    mean: Sequence[float] = (0, 0, 0),
    std: Sequence[float] = (1, 1, 1),
    pad: int | None = None,
) -> dict[str, object]:
    """Return how a trainer prepares a frame, for its entry.

    Args:
        resize: `stretch`, `letterbox-centre` or `letterbox-corner`.
        channels: `rgb` or `bgr`.
        value_range: The values from black to white, before mean and deviation.
        mean: Subtracted from each channel.
        std: Divides each channel.
        pad: The byte that a letterbox is filled with.
    """
    return {
        "channels": channels,
        "range": value_range,
        "mean": list(mean),
        "std": list(std),
        "resize": resize,
        "pad": pad,
    }


def write_entry(
    path: Path,
    *,
    package: str,
    licence: str,
    exported_by: str,
    outputs: dict[str, str],
    preprocessing: dict[str, object],
    detections: dict[str, Detections],
    names_in: str,
    classes: Sequence[str] = CLASSES,
    notes: str = "",
) -> None:
    """Write what is known of an export beside it.

    Args:
        path: The ONNX file.
        package: Name of the trainer's package on the registry.
        licence: Of the package.
        exported_by: Its own code or command that wrote the file.
        outputs: The meaning of each output by its name.
        preprocessing: As `pixels` returns it.
        detections: What its own post-processing finds in each frame, by the frame's name. Frames
            that a letterbox would resize are left out: random weights make much of the difference
            between the filters of OpenCV and Pillow.
        names_in: Where the file keeps its class names.
        classes: Its classes in the order of their indices.
        notes: What else a reader should know.
    """
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise SystemExit(f"{path} has {size} bytes; at most {_MAX_BYTES} are committed")
    model = onnx.load(path)
    onnx.checker.check_model(model)
    inputs = [_port(port) for port in model.graph.input]
    entry = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "package": f"{package}=={version(package)}",
        "licence": licence,
        "exported_by": exported_by,
        "torch": torch.__version__.split("+")[0],
        "opset": model.opset_import[0].version,
        "metadata": sorted(entry.key for entry in model.metadata_props),
        "inputs": inputs,
        "outputs": [{**_port(port), "means": outputs[port.name]} for port in model.graph.output],
        "preprocessing": preprocessing,
        "classes": list(classes),
        "names_in": names_in,
        "notes": notes,
        "detections": {
            name: [_rounded(row) for row in rows[:KEPT]]
            for name, rows in detections.items()
            if preprocessing["resize"] == "stretch" or _fits(name, inputs[0]["shape"])
        },
    }
    text = json.dumps(entry, indent=1)
    path.with_suffix(".json").write_text(_one_row_a_line(text) + "\n", encoding="utf-8")
    found = {name: len(rows) for name, rows in entry["detections"].items()}
    best = [row[4] for rows in entry["detections"].values() for row in rows]
    print(f"{path.name}: {size // 1024} KiB, {found}, scores {min(best):.3f}..{max(best):.3f}")


def best_first(boxes: Tensor, scores: Tensor, labels: Tensor) -> Detections:
    """Return rows of detections with the highest scores first, from tensors (N, 4), (N,), (N,)."""
    rows = torch.cat((boxes, scores[:, None], labels[:, None].float()), 1).detach().cpu()
    rows = rows[rows[:, 4] >= MIN_SCORE]
    return rows[rows[:, 4].argsort(descending=True, stable=True)].tolist()


def _port(port: onnx.ValueInfoProto) -> dict[str, object]:
    tensor = port.type.tensor_type
    return {
        "name": port.name,
        "type": onnx.TensorProto.DataType.Name(tensor.elem_type).lower(),
        "shape": [size.dim_param or size.dim_value for size in tensor.shape.dim],
    }


def _fits(frame: str, shape: Sequence[int | str]) -> bool:
    """Whether a letterbox of this input does not resize a frame; an open side counts as 160."""
    height, width = (side if isinstance(side, int) else 160 for side in shape[2:])
    tall, wide = frames()[frame].shape[:2]
    return min(height / tall, width / wide) == 1


def _rounded(row: Sequence[float]) -> list[float]:
    return [*(round(float(side), 2) for side in row[:4]), round(float(row[4]), 4), int(row[5])]


def _one_row_a_line(text: str) -> str:
    """Join the innermost lists, which `json.dumps` breaks into one value a line."""
    return re.sub(
        r"\[\n\s+([^\[\]{}]+?)\s+\]", lambda row: "[" + " ".join(row[1].split()) + "]", text
    )
