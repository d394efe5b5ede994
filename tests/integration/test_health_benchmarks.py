"""The benchmark of the right action at its smallest, on a detector that was really trained."""

import pytest

from benchmarks.right_action import (
    BACK,
    CAMERA,
    SCENE,
    Detectors,
    Windows,
    bad_models,
    cameras,
    scenes,
    tally,
)
from benchmarks.spoiled import Trained
from guardianflow.scenario import HealthPolicy

# Everything fails by these limits: what becomes of it is what differs.
STRICT = HealthPolicy(min_map50=1.0, min_images=4, min_objects=4, consecutive=1, confidence=0.9)


@pytest.fixture
def detectors(learned, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(learned.home))
    folder = learned.registry.download(learned.name, 1)
    trained = Trained(learned.registry, learned.scenario, learned.trained.run_id, folder)
    return Detectors(trained, trained, STRICT)


@pytest.mark.long
def test_a_bad_model_a_camera_and_a_scene_end_in_different_actions(detectors, tmp_path):
    windows = Windows(tmp_path, detectors.way_back, many=1, images=4, seed=3)
    groups = {BACK: bad_models, CAMERA: cameras, SCENE: scenes}
    found = {action: tally(run(detectors, windows, 1), {action}) for action, run in groups.items()}
    assert [one["right"] for one in found.values()] == [1, 1, 1]
