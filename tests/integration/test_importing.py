"""Detectors of other trainers on a real MLflow server: brought in, and then like our own."""

import json
import shutil
import uuid
import warnings

import pytest
import torch
from mlflow.store.artifact.artifact_repo import ArtifactRepository

from guardianflow.cli import main
from guardianflow.errors import (
    ArtifactMissing,
    InputError,
    ModelInvalid,
    ScenarioFrozen,
    VersionNotReady,
)
from guardianflow.evaluation.measurement import evaluation_digest, ir_folder, recorded_scenario
from guardianflow.lifecycle.importing import ImportOptions, ImportRunner, handmade
from guardianflow.lifecycle.importing.handmade import fetched_model
from guardianflow.lifecycle.quantization import QuantizationRunner, choose_source
from guardianflow.mlflow_store.runs import read_run_text
from guardianflow.promotion import decide, propose
from guardianflow.promotion.approval.policy import Answer, Choice
from guardianflow.scenario import EvaluationSettings
from guardianflow.vision.ir.reading import BoxForm, ChannelOrder, InputRange, LayoutName, Placement
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import DetectorShape
from guardianflow.vision.network.weights import load_weights
from testbed.runs import make_run
from tests.foreign import Export, export_onnx

APPROVED = Answer(decision=Choice.APPROVE, approver="Kim Minji", reason="saw the pictures")


def but(options, **changes):
    return options.model_copy(update=changes)


# Our own network: frames lie in the corner.
OURS = ImportOptions(channel_order=ChannelOrder.RGB, placement=Placement.CORNER)
MAPPED = but(OURS, mapping={"person": "worker"})


@pytest.fixture(autouse=True)
def same_home(learned, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(learned.home))


@pytest.fixture(scope="module")
def network(learned):
    """What was really trained: person, helmet."""
    folder = learned.registry.download(learned.name, learned.trained.version)
    return load_weights(folder / "artifacts" / "weights" / "best.pt")[0]


@pytest.fixture(scope="module")
def foreign(network, tmp_path_factory):
    """The same network as Ultralytics would export it: other order, other name, one more class."""
    path = tmp_path_factory.mktemp("foreign") / "best.onnx"
    names = {0: "Helmet", 1: "vest", 2: "worker"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return export_onnx(
            Export(network, labels=(1, 1, 0)),
            path,
            {"names": names, "imgsz": [128, 128], "task": "detect", "license": "AGPL-3.0"},
        )


@pytest.fixture(scope="module")
def finished(network, tmp_path_factory):
    """The same network with its detections finished, for pixels up to 255, without any names."""
    path = tmp_path_factory.mktemp("finished") / "end2end.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return export_onnx(Export(network, LayoutName.END_TO_END, scale=255.0), path, {})


@pytest.fixture
def scenario(learned):
    """The learned scenario for a model that no other test uses."""
    return learned.scenario.model_copy(
        update={
            "region": "plant",
            "plant": uuid.uuid4().hex[:10],
            "gate": learned.scenario.gate.model_copy(update={"min_map50": 0.1}),
        }
    )


def bring(learned, scenario, path, options=MAPPED):
    return ImportRunner(scenario, learned.registry, path, options).run()


def later(scenario):
    return scenario.model_copy(
        update={
            "version": "v2",
            "gate": scenario.gate.model_copy(update={"min_map50": 0.2, "max_regression": 1.0}),
        }
    )


def runs(learned, scenario):
    client = learned.registry.client
    experiment = client.get_experiment_by_name(scenario.model_name.public)
    return client.search_runs([experiment.experiment_id]) if experiment else []


def promote(registry, name):
    token = f"test-{uuid.uuid4()}"
    proposal = propose(registry, name, token=token, requested_by="test")
    return proposal, decide(registry, proposal, [APPROVED], token=token)


def champions(registry, name):
    return {
        model: info.version if (info := registry.get_champion(model)) else None
        for model in (name, f"{name}__openvino_int8")
    }


@pytest.mark.long
def test_the_life_of_an_imported_release(learned, scenario, foreign, finished):
    registry, name = learned.registry, scenario.model_name.public
    first = bring(learned, scenario, foreign)
    assert first.version == 1
    assert choose_source(registry, scenario) == 1
    made = QuantizationRunner(scenario, registry, 1).run()
    assert made.fp32 == first.evaluation
    proposal, _ = promote(registry, name)
    assert proposal.origin == "best.onnx (licence: AGPL-3.0)"
    assert all(subject.candidate for subject in proposal.subjects)
    assert champions(registry, name) == {name: 1, f"{name}__openvino_int8": 1}

    options = ImportOptions(
        classes=("person", "helmet"), layout=LayoutName.END_TO_END, input_range=InputRange.BYTES
    )
    second = bring(learned, later(scenario), finished, options)
    assert second.version == 2
    QuantizationRunner(later(scenario), registry, 2).run()
    promote(registry, name)
    assert champions(registry, name) == {name: 2, f"{name}__openvino_int8": 2}

    registry.rollback(name, actor="Kim Minji", reason="misses helmets")
    assert champions(registry, name) == {name: 1, f"{name}__openvino_int8": 1}


def test_it_sees_what_the_same_network_saw_that_was_trained_here(learned, scenario, foreign):
    imported = bring(learned, scenario, foreign)
    ours = learned.trained.evaluation
    assert imported.evaluation.map50 == pytest.approx(ours.map50, abs=1e-3)
    for name, figures in ours.per_class.items():
        assert imported.evaluation.per_class[name].ap50 == pytest.approx(figures.ap50, abs=1e-3)
    assert imported.evaluation.thresholds == pytest.approx(ours.thresholds, abs=1e-3)


def test_the_run_says_what_a_training_says_and_where_the_file_came_from(learned, scenario, foreign):
    registry = learned.registry
    imported = bring(learned, scenario, foreign)
    info = registry.get_version(scenario.model_name, imported.version)
    assert recorded_scenario(registry, info) == scenario
    trained = registry.get_version(learned.name, learned.trained.version)
    assert evaluation_digest(registry, info) == evaluation_digest(registry, trained)
    assert info.tags["guardianflow.origin"] == "best.onnx"
    assert info.tags["guardianflow.licence"] == "AGPL-3.0"
    run = registry.client.get_run(imported.run_id)
    assert run.data.tags["guardianflow.kind"] == "import"
    assert run.data.params["layout"] == "raw"
    assert run.data.params["producer"].startswith("pytorch")
    assert run.data.params["opset"] == "17"
    assert run.data.metrics["test.map50"] == pytest.approx(imported.evaluation.map50)
    kept = {file.path for file in registry.client.list_artifacts(imported.run_id)}
    assert {"pictures", "scenario.json", "evaluation.json", "origin.json"} <= kept
    text = read_run_text(registry.client, imported.run_id, "origin.json")
    assert json.loads(text)["classes"] == {"person": "worker", "helmet": "Helmet"}
    detector = IrDetector(ir_folder(registry, info.name, info.version))
    assert detector.classes == scenario.classes
    assert detector.thresholds == tuple(imported.evaluation.thresholds.values())


def test_the_same_file_again_is_the_same_version_whatever_it_is_called(
    learned, scenario, foreign, tmp_path
):
    first = bring(learned, scenario, foreign)
    copy = shutil.copy(foreign, tmp_path / "renamed.onnx")
    again = bring(learned, scenario, copy)
    assert again.reused
    assert (again.run_id, again.version) == (first.run_id, first.version)
    assert again.evaluation == first.evaluation
    # the same settings under another label are the same work
    assert bring(learned, scenario.model_copy(update={"version": "v5"}), foreign).reused
    assert len(runs(learned, scenario)) == 1


def test_the_same_file_read_otherwise_is_another_version(learned, scenario, foreign):
    first = bring(learned, scenario, foreign)
    options = but(OURS, mapping={"person": "worker", "helmet": "vest"})
    other = bring(learned, scenario, foreign, options)
    assert not other.reused
    assert other.version == first.version + 1


@pytest.mark.parametrize("step", ["thresholds", "evaluate", "upload"])
def test_an_import_that_was_interrupted_is_finished_by_the_next(learned, scenario, foreign, step):
    def interrupt(progress):
        if progress.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ImportRunner(scenario, learned.registry, foreign, MAPPED, on_progress=interrupt).run()
    assert all(run.info.status == "KILLED" for run in runs(learned, scenario))
    done = bring(learned, scenario, foreign)
    assert (done.reused, done.version) == (False, 1)


def test_an_import_that_was_never_registered_is_registered_by_the_next(learned, scenario, foreign):
    left = ImportRunner(scenario, learned.registry, foreign, MAPPED).bring_in()
    done = bring(learned, scenario, foreign)
    assert (done.reused, done.run_id, done.version) == (True, left.run_id, 1)


def test_a_scenario_version_is_frozen_by_an_import_too(learned, scenario, foreign):
    bring(learned, scenario, foreign)
    edited = scenario.model_copy(update={"evaluation": EvaluationSettings(beta=3.0)})
    with pytest.raises(ScenarioFrozen, match="put it into a new version"):
        bring(learned, edited, foreign)


def test_a_wrong_range_is_found_and_the_right_one_named(learned, scenario, finished):
    options = but(OURS, classes=("person", "helmet"), input_range=InputRange.UNIT)
    with pytest.raises(ModelInvalid, match=r"0\.\.1 rgb.*, and 0\.\d+ with pixels 0\.\.255") as no:
        bring(learned, scenario, finished, options)
    assert no.value.remedy == "Add --input-range 0..255 --channels rgb"
    assert runs(learned, scenario) == []


@pytest.mark.long
def test_what_the_file_does_not_say_is_tried_and_told(learned, scenario, finished):
    options = ImportOptions(classes=("person", "helmet"))
    imported = bring(learned, scenario, finished, options)
    origin = imported.origin
    assert (origin.input_range, origin.channel_order) == (InputRange.BYTES, ChannelOrder.RGB)
    assert imported.evaluation.map50 == pytest.approx(learned.trained.evaluation.map50, abs=0.1)
    assert origin.tried[0].startswith("pixels: 0..255 rgb, because mAP50-95 is ")
    assert origin.tried[1].startswith("placement: ")
    said = but(options, input_range=InputRange.BYTES, channel_order=ChannelOrder.RGB)
    assert bring(learned, scenario, finished, but(said, placement=origin.placement)).reused


def test_a_wrong_form_of_boxes_is_found_and_the_right_one_named(learned, scenario, foreign):
    options = but(MAPPED, boxes=BoxForm.CORNERS)
    with pytest.raises(
        ModelInvalid, match=r"as corners, .*, and 0\.\d+ with boxes as centre"
    ) as no:
        bring(learned, scenario, foreign, options)
    assert no.value.remedy == "Add --boxes centre"
    assert runs(learned, scenario) == []


def test_what_sees_nothing_is_not_registered(learned, scenario, tmp_path):
    torch.manual_seed(0)
    untrained = Export(make_detector(DetectorShape(2, 4, 128)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = export_onnx(untrained, tmp_path / "new.onnx", {"names": ["person", "helmet"]})
    with pytest.raises(ModelInvalid, match="detects nothing that is labelled") as refused:
        bring(learned, scenario, path, OURS)
    assert "--classes" in refused.value.remedy
    assert runs(learned, scenario) == []


def test_a_file_without_names_wants_them(learned, scenario, finished):
    with pytest.raises(ModelInvalid, match="does not name its classes") as refused:
        bring(learned, scenario, finished, ImportOptions())
    assert refused.value.remedy.endswith("--classes person,helmet")


def log_by_hand(registry, files, *, source=""):
    """Register files by hand, as people did before guardianflow; NAME/VERSION."""
    client = registry.client
    found = client.get_experiment_by_name("by-hand")
    experiment = found.experiment_id if found else client.create_experiment("by-hand")
    run = client.create_run(experiment)
    for path, file in files.items():
        client.log_artifact(run.info.run_id, str(file), path or None)
    name = f"by-hand-{uuid.uuid4().hex[:8]}"
    client.create_registered_model(name)
    version = client.create_model_version(
        name, f"{run.info.artifact_uri}/{source}".rstrip("/"), run.info.run_id
    )
    return f"{name}/{version.version}", run.info.run_id


def fetch(learned, scenario, address):
    with fetched_model(learned.registry, address, scenario.model_name) as path:
        return path.name, path.read_bytes()


@pytest.mark.parametrize("source", ["", "weights", "weights/best.onnx"])
def test_what_was_registered_by_hand_is_found(learned, scenario, foreign, source, tmp_path):
    pickled = tmp_path / "last.pt"
    pickled.write_bytes(b"PK\x03\x04never opened")
    address, run_id = log_by_hand(learned.registry, {"weights": foreign}, source=source)
    learned.registry.client.log_artifact(run_id, str(pickled), "weights")
    for place in (address, f"models:/{address}", f"runs:/{run_id}", f"runs:/{run_id}/weights"):
        assert fetch(learned, scenario, place) == ("best.onnx", foreign.read_bytes())


def test_a_model_that_mlflow_logged_is_found(learned, scenario, foreign):
    client, name = learned.registry.client, f"by-hand-{uuid.uuid4().hex[:8]}"
    # the files of mlflow.onnx.log_model
    flavour = b"flavors:\n  onnx:\n    data: model.onnx\n"
    run_id = make_run(client, {"MLmodel": flavour, "model.onnx": foreign.read_bytes()})
    run = client.get_run(run_id)
    (model,) = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
    client.create_registered_model(name)
    client.create_model_version(name, f"models:/{model.model_id}", run_id, model_id=model.model_id)
    client.set_registered_model_alias(name, "best", "1")
    for address in (
        f"{name}/1",
        f"{name}@best",
        f"models:/{name}@best",
        f"models:/{model.model_id}",
        f"models:/{model.model_id}/model.onnx",
        f"runs:/{run_id}",
        f"runs:/{run_id}/model",
        f"runs:/{run_id}/model/model.onnx",
    ):
        assert fetch(learned, scenario, address) == ("model.onnx", foreign.read_bytes()), address
    with pytest.raises(VersionNotReady, match=r"has no alias @worst\. It has @best") as refused:
        fetch(learned, scenario, f"models:/{name}@worst")
    assert f"{name}/1" in refused.value.remedy


def test_our_own_version_of_another_plant_is_taken_over(learned, scenario, capsys):
    address = f"{learned.name}/{learned.trained.version}"
    with fetched_model(learned.registry, address, scenario.model_name) as path:
        imported = bring(learned, scenario, path, ImportOptions(source=address))
    assert imported.origin.layout is LayoutName.CANONICAL
    assert imported.evaluation.map50 == pytest.approx(learned.trained.evaluation.map50, abs=1e-6)
    with pytest.raises(InputError, match="is already registered") as refused:
        fetch(learned, learned.scenario, address)
    assert "guardianflow promote" in refused.value.remedy


def test_what_holds_no_single_model_is_listed(learned, scenario, foreign, tmp_path):
    pickled = tmp_path / "best.pt"
    pickled.write_bytes(b"PK\x03\x04never opened")
    address, _ = log_by_hand(learned.registry, {"weights": pickled})
    with pytest.raises(ModelInvalid, match=r"no model files .*: weights/best\.pt"):
        fetch(learned, scenario, address)
    second = shutil.copy(foreign, tmp_path / "last.onnx")
    address, run_id = log_by_hand(learned.registry, {"a": foreign, "b": second})
    with pytest.raises(ModelInvalid, match=r"2 model files .*: a/best\.onnx, b/last\.onnx"):
        fetch(learned, scenario, address)
    assert fetch(learned, scenario, f"runs:/{run_id}/b/last.onnx")[0] == "last.onnx"


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("nobody-registered-this/1", VersionNotReady),
        (f"runs:/{'0' * 32}", VersionNotReady),
        (f"models:/m-{'0' * 32}", VersionNotReady),
        ("nobody-registered-this@best", VersionNotReady),
        ("best.onnx", InputError),
        ("a/../../b", InputError),
        (f"runs:/{'0' * 32}/../../others/best.onnx", InputError),
    ],
)
def test_an_address_that_leads_nowhere_is_said(learned, scenario, address, error):
    with pytest.raises(error):
        fetch(learned, scenario, address)


def test_an_artifact_that_is_not_there_is_said(learned, scenario, foreign):
    _, run_id = log_by_hand(learned.registry, {"weights": foreign})
    with pytest.raises((ArtifactMissing, ModelInvalid)):
        fetch(learned, scenario, f"runs:/{run_id}/weights/gone.onnx")


def test_what_is_too_large_is_not_fetched(learned, scenario, foreign, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("fetched")

    checkpoint = tmp_path / "epoch_300.pt"
    checkpoint.write_bytes(bytes(3 * 2**20))
    address, run_id = log_by_hand(learned.registry, {"": foreign, "weights": checkpoint})
    size = checkpoint.stat().st_size + foreign.stat().st_size
    monkeypatch.setattr(handmade, "_MAX_BYTES", size)
    assert fetch(learned, scenario, address)[0] == "best.onnx"
    monkeypatch.setattr(handmade, "_MAX_BYTES", size - 1)
    monkeypatch.setattr(ArtifactRepository, "download_artifacts", never)
    for place in (address, f"runs:/{run_id}", f"runs:/{run_id}/best.onnx"):
        with pytest.raises(ModelInvalid, match=r"weights/epoch_300\.pt alone 3; at") as refused:
            fetch(learned, scenario, place)
        assert "mlflow artifacts download" in refused.value.remedy


def test_the_command_imports_and_says_what_it_read(learned, foreign, tmp_path, monkeypatch, capsys):
    plant = uuid.uuid4().hex[:10]
    settings = learned.scenario.model_dump(
        mode="json", include={"customer", "zone", "task", "classes", "dataset", "training"}
    )
    settings |= {"region": "plant", "plant": plant, "versions": {"v1": {}}}
    (tmp_path / "learned-ppe.yaml").write_text(json.dumps(settings))
    monkeypatch.setenv("GUARDIANFLOW_SCENARIOS", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", learned.registry.client.tracking_uri)
    name = f"test/plant-{plant}/welding/ppe"
    address, _ = log_by_hand(learned.registry, {"": foreign})
    words = ["import", name, "--scenario", "learned-ppe", "--version", "v1"]
    words += ["--map", "person=worker", "--channels", "rgb", "--placement", "corner", "--json"]

    def run(*more):
        with pytest.raises(SystemExit) as stopped:
            main([*words, *more])
        return stopped.value.code, json.loads(capsys.readouterr().out)

    code, said = run("--onnx", str(foreign))
    assert (code, said["version"], said["reused"]) == (0, 1, False)
    assert said["origin"]["layout"] == "raw"
    assert said["evaluation"]["map50"] == pytest.approx(learned.trained.evaluation.map50, abs=1e-3)
    code, said = run("--onnx", str(foreign.parent))
    assert (code, said["version"], said["reused"]) == (0, 1, True)
    code, said = run("--from-mlflow", address)
    assert (code, said["version"], said["reused"]) == (0, 1, True)
    code, said = run()
    assert (code, said["error"]["type"]) == (2, "InputError")
