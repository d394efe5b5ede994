"""One picture in two splits: nothing is learned from it any more, and nothing is frozen by that."""

import shutil
import uuid

import pytest
from PIL import Image

from guardianflow.errors import DatasetInvalid
from guardianflow.evaluation.measurement import evaluation_digest, evaluation_set
from guardianflow.lifecycle.quantization import QuantizationRunner
from guardianflow.lifecycle.training import TrainingRunner
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import FolderData, NearDuplicates
from guardianflow.vision.data.dataset import prepare_dataset
from testbed.tiny import tiny_spec


def test_what_was_trained_with_it_is_found_measured_and_quantized(
    mlflow_server, tmp_path, monkeypatch
):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    registry = ModelRegistryManager(mlflow_server)
    scenario = tiny_spec(f"s{uuid.uuid4().hex[:8]}").version("v1")
    dataset = prepare_dataset(scenario.dataset, scenario.classes)
    mixed = shutil.copytree(dataset.root, tmp_path / "mixed")
    first = dataset.samples("train")[0].image.relative_to(dataset.root)
    Image.open(mixed / first).save(mixed / "images/test/near.jpg", quality=90)
    label = mixed / "labels" / first.relative_to("images").with_suffix(".txt")
    shutil.copy(label, mixed / "labels/test/near.txt")
    folder = FolderData(kind="folder", path=str(mixed))
    known = folder.model_copy(update={"near_duplicates": NearDuplicates.KNOWN})
    asked = scenario.model_copy(update={"dataset": folder})
    with pytest.raises(DatasetInvalid, match="looks like one of train") as refused:
        TrainingRunner(asked, registry).run()
    assert "near_duplicates: known" in refused.value.remedy
    trained = TrainingRunner(asked.model_copy(update={"dataset": known}), registry).run()
    assert trained.version == 1
    # As it is after an upgrade: it was trained, and the scenario says nothing of it.
    again = TrainingRunner(asked, registry).run()
    assert (again.reused, again.version) == (True, 1)
    kept = registry.get_version(asked.model_name, 1)
    _, samples = evaluation_set(asked, recorded=evaluation_digest(registry, kept))
    assert len(samples) == 5
    assert QuantizationRunner(asked, registry, 1).run().version == 1
