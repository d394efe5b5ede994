"""Training on a real MLflow server: what is kept, what is found again, what is refused."""

import os
import shutil
import uuid

import numpy as np
import pytest
import requests
import torch
from PIL import Image

from guardianflow.errors import DatasetInvalid, NoCandidate, ScenarioFrozen, ScenarioInvalid
from guardianflow.evaluation.measurement import ir_folder
from guardianflow.lifecycle.training import TrainingRunner
from guardianflow.scenario import FolderData, ScenarioSpec, StartingPoint
from guardianflow.scenario.file import load_spec
from guardianflow.vision.data.dataset import load_image, prepare_dataset
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.metrics.album import FILES as ALBUM
from guardianflow.vision.metrics.detections import detect
from guardianflow.vision.metrics.evaluation import evaluate
from guardianflow.vision.network.fitting import fit
from guardianflow.vision.network.weights import load_weights
from testbed.tiny import tiny_spec

WAIT_SHARE = "train.wait_share"


@pytest.fixture(autouse=True)
def same_home(learned, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(learned.home))


def runs(learned, kind="train"):
    client = learned.registry.client
    experiment = client.get_experiment_by_name(learned.name)
    return client.search_runs([experiment.experiment_id], f"tags.`guardianflow.kind` = '{kind}'")


def test_it_learns(learned):
    assert learned.trained.evaluation.map50 > 0.2
    assert learned.trained.evaluation.images == 12


def test_the_run_says_what_from_and_keeps_weights_pictures_and_scenario(learned):
    client = learned.registry.client
    run = client.get_run(learned.trained.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["guardianflow.work_digest"] == learned.scenario.digest
    assert run.data.params["epochs"] == "12"
    assert run.data.metrics["test.map50"] == pytest.approx(learned.trained.evaluation.map50)
    kept = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"weights", "pictures", "scenario.json", "evaluation.json", "contamination.json"} <= kept
    pictures = {file.path for file in client.list_artifacts(run.info.run_id, "pictures")}
    assert pictures == {f"pictures/{file}" for file in ("curves.png", "detections.png", *ALBUM)}
    uses = {entry.tags[0].value for entry in run.inputs.dataset_inputs}
    assert uses == {"training", "validation", "evaluation"}


def test_figures_are_linked_to_the_model_and_the_split(learned):
    client = learned.registry.client
    run = client.get_run(learned.trained.run_id)
    model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
    assert str(model.status) == "READY"
    figures = {metric.key: metric for metric in model.metrics}
    assert figures["test.map50"].dataset_name.endswith("-test")


def test_the_version_holds_the_ir_and_the_weights_and_they_agree(learned):
    folder = learned.registry.download(learned.name, learned.trained.version)
    detector, classes = load_weights(folder / "artifacts" / "weights" / "best.pt")
    assert classes == learned.scenario.classes
    dataset = prepare_dataset(learned.scenario.dataset, learned.scenario.classes)
    ir = IrDetector(folder / "artifacts" / "ir")
    found = detect(ir, dataset.samples("test"))
    again = evaluate(found, dataset.samples("test"), dataset.classes, ir.thresholds)
    assert again.thresholds == learned.trained.evaluation.thresholds
    assert again.map50 == pytest.approx(learned.trained.evaluation.map50, abs=1e-6)
    assert ir.image_size == detector.shape.image_size


def test_a_training_is_found_again_and_not_repeated(learned):
    before = len(runs(learned))
    again = TrainingRunner(learned.scenario, learned.registry).run()
    assert again.reused
    assert (again.run_id, again.version) == (learned.trained.run_id, learned.trained.version)
    assert again.evaluation == learned.trained.evaluation
    assert len(runs(learned)) == before


def test_an_edited_version_is_refused_once_it_was_trained(learned):
    edited = learned.scenario.model_copy(
        update={"training": learned.scenario.training.model_copy(update={"epochs": 13})}
    )
    before = len(runs(learned))
    with pytest.raises(ScenarioFrozen, match="put it into a new version"):
        TrainingRunner(edited, learned.registry).train()
    assert len(runs(learned)) == before


def test_an_interrupted_training_says_so_and_goes_on_after_its_last_epoch(learned):
    other = learned.scenario.model_copy(
        update={
            "version": "v7",
            "training": learned.scenario.training.model_copy(update={"epochs": 3, "seed": 7}),
        }
    )

    def interrupt(progress):
        if progress.message.startswith("loss"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="1 of 3 epochs are kept"):
        TrainingRunner(other, learned.registry, on_progress=interrupt).run()
    (killed,) = [r for r in runs(learned) if r.data.tags["guardianflow.scenario_version"] == "v7"]
    assert killed.info.status == "KILLED"
    assert killed.data.tags["guardianflow.checkpoint"] == "1"
    remarks = []
    trained = TrainingRunner(
        other, learned.registry, on_progress=lambda p: remarks.append(p.remark)
    ).train()
    assert (trained.reused, trained.resumed_at) == (False, 1)
    assert "resumed at epoch 1 of 3" in remarks
    run = learned.registry.client.get_run(trained.run_id)
    assert run.data.tags["guardianflow.continues"] == killed.info.run_id != trained.run_id


def test_curves_are_whole_although_mlflow_was_away_for_an_epoch(learned, monkeypatch):
    other = learned.scenario.model_copy(
        update={
            "version": "v9",
            "training": learned.scenario.training.model_copy(update={"epochs": 3, "seed": 9}),
        }
    )
    original, away = requests.Session.request, []

    def request(session, method, url, *args, **kwargs):
        if "log-batch" in url and "train.loss" in str(kwargs) and len(away) < 2:
            away.append(url)
            raise requests.ConnectionError("the server is away")
        return original(session, method, url, *args, **kwargs)

    monkeypatch.setattr(requests.Session, "request", request)
    trained = TrainingRunner(other, learned.registry).train()
    assert len(away) == 2
    client = learned.registry.client
    curve = client.get_metric_history(trained.run_id, "train.loss")
    assert [entry.step for entry in curve] == [1, 2, 3]
    assert all(0 <= m.value < 1 for m in client.get_metric_history(trained.run_id, WAIT_SHARE))


def test_bad_data_is_refused_before_a_run_exists(learned, tmp_path):
    dataset = prepare_dataset(learned.scenario.dataset, learned.scenario.classes)
    broken = tmp_path / "broken"
    shutil.copytree(dataset.root, broken)
    picture = dataset.samples("val")[0].image.relative_to(dataset.root)
    (broken / picture).write_bytes(b"no picture")
    scenario = learned.scenario.model_copy(
        update={"version": "v8", "dataset": FolderData(kind="folder", path=str(broken))}
    )
    before = len(runs(learned))
    with pytest.raises(DatasetInvalid, match=picture.name):
        TrainingRunner(scenario, learned.registry).run()
    assert len(runs(learned)) == before


def test_the_same_seed_gives_the_same_weights(learned):
    dataset = prepare_dataset(learned.scenario.dataset, learned.scenario.classes)
    settings = learned.scenario.training.model_copy(update={"epochs": 2})
    train, val = dataset.samples("train")[:8], dataset.samples("val")[:2]
    first, second = (fit(settings, train, val, dataset.classes) for _ in range(2))
    for one, two in zip(
        first.detector.state_dict().values(), second.detector.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two)
    assert [e.loss for e in first.history] == [e.loss for e in second.history]


def test_a_training_begins_with_the_champion_of_when_it_was_first_begun(registry):
    spec = tiny_spec(f"s{uuid.uuid4().hex[:8]}")
    scratch, other = spec.version("v1"), spec.version("v2")
    name = scratch.model_name.public
    warm = scratch.training.model_copy(update={"start": StartingPoint.CHAMPION, "epochs": 2})
    begun = scratch.model_copy(update={"version": "v3", "training": warm})
    with pytest.raises(NoCandidate, match="no champion"):
        TrainingRunner(begun, registry).train()
    first = TrainingRunner(scratch, registry).run()
    registry.promote_to_champion(name)

    def interrupt(progress):
        if progress.message.startswith("loss"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TrainingRunner(begun, registry, on_progress=interrupt).run()
    TrainingRunner(other, registry).run()
    registry.promote_to_champion(name)
    trained = TrainingRunner(begun, registry).run()
    assert (first.version, trained.version, trained.resumed_at) == (1, 3, 1)
    run = registry.client.get_run(trained.run_id)
    assert run.data.tags["guardianflow.start_version"] == run.data.params["start_version"] == "1"
    weights = registry.get_version(name, 1).tags["guardianflow.sha256.artifacts/weights/best.pt"]
    assert run.data.tags["guardianflow.start_sha256"] == weights
    registry.promote_to_champion(name)
    assert TrainingRunner(begun, registry).run().reused
    wider = warm.model_copy(update={"width": 8})
    with pytest.raises(ScenarioInvalid, match="width 4, the scenario has 8"):
        TrainingRunner(
            begun.model_copy(update={"version": "v4", "training": wider}), registry
        ).train()


def test_frames_of_any_size_are_accepted(learned):
    folder = learned.registry.download(learned.name, learned.trained.version)
    detector = IrDetector(folder / "artifacts" / "ir")
    dataset = prepare_dataset(learned.scenario.dataset, learned.scenario.classes)
    frame = load_image(dataset.samples("test")[0].image)
    large = np.repeat(np.repeat(frame, 3, 0), 3, 1)
    # What the large frame looks like to the network, as a frame of the network's own size.
    size = learned.scenario.training.image_size
    small = np.asarray(Image.fromarray(large).resize((size, size), Image.Resampling.BILINEAR))
    (small_found,), (large_found,) = detector.predict([small]), detector.predict([large])
    assert len(large_found["boxes"]) > 0
    scale = large.shape[0] / size
    assert np.allclose(np.array(small_found["boxes"]) * scale, large_found["boxes"], atol=0.1)


@pytest.mark.real_data
def test_real_photographs_are_trained_and_registered_by_the_same_code(registry):
    data = os.environ.get("GUARDIANFLOW_REAL_DATA")
    if not data:
        pytest.skip("GUARDIANFLOW_REAL_DATA is not set: no real photographs on this machine")
    spec = load_spec("openyard-helmets")
    small = {"image_size": 160, "width": 4, "epochs": 1, "batch_size": 16}
    plant = f"p{uuid.uuid4().hex[:8]}"
    common = {**spec.common, "plant": plant, "training": small}
    scenario = ScenarioSpec.from_mapping(spec.name, {**common, "versions": {"v1": {}}})
    trained = TrainingRunner(scenario.version("v1").check(), registry).run()
    assert trained.evaluation.images == 72
    assert trained.evaluation.objects > 72
    info = registry.get_version(f"openyard/busan-{plant}/yard/helmets", trained.version)
    assert "candidate" in info.aliases
    detector = IrDetector(ir_folder(registry, info.name, info.version))
    assert detector.classes == ("person", "helmet", "no_helmet")
