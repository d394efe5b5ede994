"""What counts as measured: a version is compared on what it was made for, or not at all."""

import shutil

import pytest

from guardianflow.errors import ArtifactMissing
from guardianflow.evaluation.measurement import (
    evaluation_digest,
    evaluation_set,
    measure_version,
    recorded_scenario,
)
from guardianflow.scenario import FolderData
from guardianflow.vision.data.dataset import prepare_dataset


@pytest.fixture(autouse=True)
def same_home(learned, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(learned.home))


def test_a_version_is_measured_as_its_training_measured_it(learned):
    dataset = prepare_dataset(learned.scenario.dataset, learned.scenario.classes)
    measured = measure_version(
        learned.registry,
        learned.name,
        learned.trained.version,
        dataset.samples("test"),
        dataset.classes,
    )
    assert measured.evaluation == learned.trained.evaluation


def test_a_version_with_other_classes_is_never_measured(learned):
    # By index a reordered class list would measure near 0 and let every regression pass.
    dataset = prepare_dataset(learned.scenario.dataset, learned.scenario.classes)
    with pytest.raises(ArtifactMissing, match=r"detects person, helmet; .* helmet, person"):
        measure_version(
            learned.registry,
            learned.name,
            learned.trained.version,
            dataset.samples("test"),
            tuple(reversed(dataset.classes)),
        )


def test_the_evaluation_set_is_the_one_that_the_run_recorded(learned):
    for name, version in (
        (learned.name, learned.trained.version),
        (learned.variant, learned.quantized.version),
    ):
        info = learned.registry.get_version(name, version)
        scenario = recorded_scenario(learned.registry, info)
        assert scenario == learned.scenario
        digest = evaluation_digest(learned.registry, info)
        _, samples = evaluation_set(scenario, recorded=digest)
        assert len(samples) == 12


def test_an_evaluation_set_that_changed_since_is_no_evidence(learned, tmp_path):
    info = learned.registry.get_version(learned.name, learned.trained.version)
    recorded = evaluation_digest(learned.registry, info)
    moved = tmp_path / "moved"
    dataset = prepare_dataset(learned.scenario.dataset, learned.scenario.classes)
    shutil.copytree(dataset.root, moved)
    folder = FolderData(kind="folder", path=str(moved))
    scenario = learned.scenario.model_copy(update={"dataset": folder})
    # Where it lies does not matter, what it holds does.
    evaluation_set(scenario, recorded=recorded)
    picture = dataset.samples("test")[0].image.relative_to(dataset.root)
    (moved / "labels" / picture.relative_to("images")).with_suffix(".txt").write_text("")
    with pytest.raises(ArtifactMissing, match="not hold the images and labels"):
        evaluation_set(scenario, recorded=recorded)


def test_a_version_that_recorded_no_evaluation_set_has_none(factory):
    bare = factory.base(factory.name())
    with pytest.raises(ArtifactMissing, match="recorded no evaluation set"):
        evaluation_digest(factory.registry, bare)
