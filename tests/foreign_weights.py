"""Weights of the layout of those trained on COCO, and the real ones where they are."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import Architecture, DetectorShape
from guardianflow.vision.network.pretrained import COCO, NANODET_COCO

REAL = Path(os.environ.get("GUARDIANFLOW_REAL_DATA", "/nowhere")) / "weights"


def layout_of(arrays):
    """Files of the format of TensorFlow.js with these arrays, and a number between them."""
    entries, numbers = [], b""
    for name, values in arrays.items():
        entries.append(
            {
                "name": name,
                "shape": list(values.shape),
                "dtype": "float32",
                "quantization": {"dtype": "float16", "original_dtype": "float32"},
            }
        )
        entries.append({"name": f"{name}/perm", "shape": [2], "dtype": "int32"})
        numbers += values.astype("<f2").tobytes() + np.zeros(2, "<i4").tobytes()
    layout = {"weightsManifest": [{"paths": ["nanodet.bin"], "weights": entries}]}
    return json.dumps(layout).encode(), numbers


def random_arrays():
    """Random arrays with the names and shapes of the real file."""
    random, made = np.random.default_rng(0), {}
    network = make_detector(DetectorShape(len(COCO), 32, 416, Architecture.NANODET_G))
    layers = [one for one in network.modules() if isinstance(one, nn.Conv2d)]

    def add(number, bias, weight_shape):
        name = f"PartitionedCall/split_{number}" if number else "PartitionedCall/split"
        # As large as keeps what goes through as large.
        size = (2 / np.prod(weight_shape[:-1])) ** 0.5
        made[name] = random.normal(0, size, weight_shape)
        made[f"unknown_{bias}"] = random.normal(0, 0.05, weight_shape[-1:])

    for number, layer in enumerate(layers[:28]):
        out, inputs, height, width = layer.weight.shape
        add(number, 2 * number, (height, width, inputs, out))
    for one, bias, last, last_bias in ((28, 60, 29, 62), (30, 66, 31, 68), (32, 70, 33, 72)):
        add(one, bias, (3, 3, 128, 128))
        add(last, last_bias, (1, 1, 128, 124))
    return made


def write_random(folder):
    """Write random weights into a folder; how they would be known."""
    files = dict(zip(("nanodet.json", "nanodet.bin"), layout_of(random_arrays()), strict=True))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return replace(
        NANODET_COCO,
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        sizes={name: len(content) for name, content in files.items()},
    )
