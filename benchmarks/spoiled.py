"""A detector that was really trained, and what can go wrong: with it, with a camera, with a scene.

    learn -> Trained --spoil--> files --kept--> a run --released--> version 2, champion

Bad versions are made of a good one's weights or of its IR, so they are as real as that one is.
"""

import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from guardianflow.lifecycle.training import TrainingRunner
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import Light, Scenario, ScenarioSpec
from guardianflow.vision.ir import ir
from guardianflow.vision.ir.processing import wrap
from guardianflow.vision.network.detector import Detector, Head, make_grid
from guardianflow.vision.network.weights import load_weights
from testbed.runs import blinded as without_output
from testbed.runs import make_run

if TYPE_CHECKING:
    import openvino as ov

CLASSES = ("person", "helmet")
Files = dict[str, bytes]


@dataclass(frozen=True)
class Trained:
    """A detector that was trained and registered.

    Attributes:
        registry: Where it is.
        scenario: What it was trained from.
        run_id: Its training run, which holds the model.
        folder: The files of the registered version.
    """

    registry: ModelRegistryManager
    scenario: Scenario
    run_id: str
    folder: Path


def scenario(
    *,
    light: tuple[Light, ...] = (Light.DAY, Light.NIGHT),
    seed: int = 0,
    side: int = 256,
    images: int = 240,
    epochs: int = 14,
) -> Scenario:
    """A small detector on drawn scenes: a minute or two on one core."""
    settings = {
        "customer": "bench",
        "region": "lab",
        "plant": f"p{uuid.uuid4().hex[:8]}",
        "zone": "line",
        "task": "ppe",
        "classes": CLASSES,
        "dataset": {
            "kind": "synthetic",
            "image_size": side,
            "train_images": images,
            "val_images": max(4, images // 8),
            "test_images": max(4, images // 8),
            "train_light": light,
        },
        "training": {"image_size": side, "epochs": epochs, "seed": seed},
        "versions": {"v1": {}},
    }
    return ScenarioSpec.from_mapping("bench-ppe", settings).version("v1")


def learn(registry: ModelRegistryManager, wanted: Scenario) -> Trained:
    """Train a detector and register it."""
    trained = TrainingRunner(wanted, registry).run()
    assert trained.version is not None
    folder = registry.download(wanted.model_name, trained.version)
    return Trained(registry, wanted, trained.run_id, folder)


def released(way_back: Trained, champion: str) -> ModelName:
    """A model of its own: version 1 is the way back, version 2, champion, the model of a run."""
    name = ModelName.parse(f"bench/plant-{uuid.uuid4().hex[:8]}/line/ppe")
    for run_id in (way_back.run_id, champion):
        way_back.registry.register_model(run_id, "model", name, token=uuid.uuid4().hex)
        way_back.registry.promote_to_champion(name, reason="benchmark")
    return name


def kept(good: Trained, bad: Mapping[str, bytes]) -> str:
    """A run that holds the model of a good one with other files in some places."""
    files = {
        file.relative_to(good.folder).as_posix(): file.read_bytes()
        for file in good.folder.rglob("*")
        if file.is_file()
    }
    return make_run(good.registry.client, {**files, **bad})


def blinded(good: Trained) -> Files:
    """It sees nothing at all."""
    plain, edge = (without_output(good.folder / "artifacts" / kind) for kind in ("ir", "edge"))
    return plain | edge


def noisy(good: Trained, share: float, seed: int = 0) -> Files:
    """Noise on every weight, by its own size: a file that was half written, a bad conversion.

    Args:
        good: The detector.
        share: Standard deviation of the noise, as a share of that of each tensor.
        seed: Of the noise.
    """

    def spoil(detector: Detector) -> None:
        generator = torch.Generator().manual_seed(seed)
        for weight in detector.parameters():
            if weight.ndim > 1:
                noise = torch.randn(weight.shape, generator=generator)
                weight.add_(noise * weight.std() * share)

    return _exported(good, spoil)


def swapped(good: Trained) -> Files:
    """It calls each class by the name of the next."""

    def spoil(detector: Detector) -> None:
        for head in detector.heads:
            layer = cast("Head", head).logits
            for values in (layer.weight, layer.bias):
                assert values is not None
                values.copy_(values.roll(1, 0))

    return _exported(good, spoil)


def half_blind(good: Trained, *, left: bool = True) -> Files:
    """It sees one half of the picture: half of its recall is gone."""
    import openvino as ov
    from openvino import opset13 as op

    model = ov.Core().read_model(good.folder / "artifacts" / "ir" / ir.FILE)
    side = int(model.inputs[0].shape[1])
    centres = make_grid(side).centres[:, 0].numpy()
    seen = (centres > side / 2) if left else (centres <= side / 2)
    result = model.results[1]
    scores = op.multiply(
        result.input_value(0), op.constant(seen.astype(np.float32).reshape(1, -1, 1))
    )
    result.input(0).replace_source_output(scores.output(0))
    return _files(model)


def _exported(good: Trained, spoil: Callable[[Detector], None]) -> Files:
    weights = next(good.folder.rglob("best.pt"))
    detector, classes = load_weights(weights)
    with torch.no_grad():
        spoil(detector)
    return _files(ir.convert_network(detector, classes))


def _files(model: "ov.Model") -> Files:
    with tempfile.TemporaryDirectory() as text:
        plain = ir.save(model, Path(text) / "ir")
        edge = wrap(plain, Path(text) / "edge")
        return {
            f"artifacts/{folder.name}/{file.name}": file.read_bytes()
            for folder in (plain, edge)
            for file in folder.iterdir()
        }
