"""A detector that was really trained, quantized and registered, for tests that need one."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from guardianflow.lifecycle.quantization import QuantizationRunner, QuantizedModel
from guardianflow.lifecycle.training import TrainedModel, TrainingRunner
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import Scenario, ScenarioSpec

SETTINGS = {
    "customer": "test",
    "region": "lab",
    "plant": "learned",
    "zone": "welding",
    "task": "ppe",
    "classes": ["person", "helmet"],
    "dataset": {
        "kind": "synthetic",
        "image_size": 128,
        "train_images": 64,
        "val_images": 8,
        "test_images": 12,
        "train_light": ["day"],
    },
    "training": {"image_size": 128, "epochs": 12},
    "quantization": {"calibration_images": 16},
    # What is faster on a machine that runs other tests beside is chance.
    "gate": {"min_speedup": 0, "max_variant_drop": 0.1, "max_variant_recall_drop": 1.0},
    "versions": {"v1": {}, "v2": {"training": {"seed": 1}}},
}


@dataclass(frozen=True)
class Learned:
    """What a small but real lifecycle left on the server, before any promotion."""

    registry: ModelRegistryManager
    scenario: Scenario
    home: Path
    trained: TrainedModel
    quantized: QuantizedModel

    @property
    def name(self) -> str:
        """The public name of the base."""
        return self.scenario.get_registered_model_name()

    @property
    def variant(self) -> str:
        """The public name of the INT8 variant."""
        return self.scenario.get_registered_model_name("openvino_int8")


def learn(tracking_uri: str, home: Path) -> Learned:
    """Train and quantize: about 15 seconds on a free core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUARDIANFLOW_HOME", str(home))
        registry = ModelRegistryManager(tracking_uri)
        scenario = ScenarioSpec.from_mapping("learned-ppe", SETTINGS).version("v1")
        trained = TrainingRunner(scenario, registry).run()
        assert trained.version is not None
        quantized = QuantizationRunner(scenario, registry, trained.version).run()
    return Learned(registry, scenario, home, trained, quantized)
