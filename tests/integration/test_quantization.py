"""Quantization on a real MLflow server: from a registered version to the INT8 variant."""

import pytest
from mlflow import pyfunc

from guardianflow.data.dataset import prepare_dataset
from guardianflow.edge.serving import IrDetector
from guardianflow.errors import (
    ArtifactMissing,
    NoCandidate,
    ScenarioFrozen,
    ScenarioInvalid,
    VersionNotReady,
)
from guardianflow.measuring.album import FILES as ALBUM
from guardianflow.measuring.detections import detect
from guardianflow.measuring.thresholds import choose_thresholds
from guardianflow.quantization import QuantizationRunner, choose_source
from guardianflow.scenario import QuantizationSettings
from guardianflow.training import TrainingRunner


@pytest.fixture(autouse=True)
def same_home(learned, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(learned.home))


def elsewhere(learned, factory):
    """A model name that no other test uses, and the learned scenario for it."""
    name = factory.name()
    plant = name.split("/")[1].removeprefix("plant-")
    return name, learned.scenario.model_copy(update={"region": "plant", "plant": plant})


def test_accuracy_is_measured_before_and_after_on_held_out_images(learned):
    made = learned.quantized
    assert made.fp32 == learned.trained.evaluation
    assert made.int8.images == 12
    assert made.int8.map50 > made.fp32.map50 - 0.1
    assert made.int8.map50 in made.int8.map50_bounds
    lost = made.difference.map50
    assert lost.value == pytest.approx(made.int8.map50 - made.fp32.map50, abs=1e-6)
    assert lost.low <= lost.value <= lost.high
    run = learned.registry.client.get_run(made.run_id)
    assert run.data.metrics["difference.map50_low"] == pytest.approx(lost.low)


def test_latency_names_precision_and_processor(learned):
    made = learned.quantized
    assert (made.fp32_latency.precision, made.int8_latency.precision) == ("f32", "int8")
    assert made.default_latency.precision in ("f32", "bf16")
    assert made.int8_latency.instruction_set
    assert made.int8_latency.cpu
    run = learned.registry.client.get_run(made.run_id)
    assert run.data.metrics["latency.int8.p50_ms"] == pytest.approx(made.int8_latency.p50_ms)
    assert run.data.metrics["size.int8_kib"] < run.data.metrics["size.fp32_kib"]


def test_the_variant_says_what_it_was_made_from(learned):
    info = learned.registry.get_version(learned.variant, learned.quantized.version)
    assert info.tags["backend"] == "openvino"
    assert info.tags["precision"] == "int8"
    assert info.tags["source_run_id"] == learned.trained.run_id
    assert info.source_version == learned.trained.version
    assert info.tags["guardianflow.instruction_set"]
    assert info.tags["guardianflow.sha256.artifacts/ir/model.bin"]
    assert int(info.tags["guardianflow.size.artifacts/ir/model.bin"]) > 0
    assert info.scenario_version == "v1"


def test_it_calibrates_on_train_and_evaluates_on_test(learned):
    run = learned.registry.client.get_run(learned.quantized.run_id)
    uses = {e.tags[0].value: e.dataset.name for e in run.inputs.dataset_inputs}
    assert uses["calibration"].endswith("-train")
    assert uses["evaluation"].endswith("-test")


def test_the_variant_is_an_int8_ir_without_weights_of_torch(learned):
    folder = learned.registry.download(learned.variant, learned.quantized.version)
    assert IrDetector(folder / "artifacts" / "ir").weights_precision == "int8"
    assert not list(folder.rglob("*.pt"))


def test_the_run_keeps_what_the_variant_got_right_and_wrong(learned):
    client = learned.registry.client
    pictures = {f.path for f in client.list_artifacts(learned.quantized.run_id, "pictures")}
    assert pictures == {f"pictures/{file}" for file in ("fp32-int8.png", *ALBUM)}


def test_the_variant_has_thresholds_of_its_own_and_is_served_with_them(learned):
    folder = learned.registry.download(learned.variant, learned.quantized.version)
    own = IrDetector(folder / "artifacts" / "ir").thresholds
    chosen = learned.quantized.int8.thresholds
    assert own == tuple(chosen[name] for name in learned.scenario.classes)
    source = learned.registry.download(learned.name, learned.trained.version)
    val = prepare_dataset(learned.scenario.dataset, learned.scenario.classes).samples("val")
    beta = learned.scenario.evaluation.beta
    for place in (folder, source):
        detector = IrDetector(place / "artifacts" / "ir")
        found = detect(detector, val)
        again = choose_thresholds(found, val, learned.scenario.classes, beta=beta)
        assert detector.thresholds == again
    served = pyfunc.load_model(str(folder)).unwrap_python_model()
    assert served.score_threshold == own
    override = pyfunc.load_model(str(folder), model_config={"score_threshold": 0.0})
    assert override.unwrap_python_model().score_threshold == 0.0


def test_a_quantization_is_found_again(learned):
    again = QuantizationRunner(learned.scenario, learned.registry, learned.trained.version).run()
    assert again.reused
    assert again.version == learned.quantized.version
    assert again.int8 == learned.quantized.int8
    assert again.int8_latency == learned.quantized.int8_latency


def test_a_version_without_an_ir_is_refused(learned, factory):
    name, scenario = elsewhere(learned, factory)
    bare = learned.registry.register_model(factory.run({"best.pt": b"weights"}), "model", name)
    with pytest.raises(ArtifactMissing, match="no OpenVINO IR"):
        QuantizationRunner(scenario, learned.registry, bare.version).run()


def test_a_source_with_other_classes_is_refused(learned):
    other = learned.scenario.model_copy(update={"version": "v9", "classes": ("person", "vest")})
    with pytest.raises(ScenarioInvalid, match="detects person, helmet"):
        QuantizationRunner(other, learned.registry, learned.trained.version).run()


def test_a_version_that_does_not_exist_is_refused(learned):
    with pytest.raises(VersionNotReady):
        QuantizationRunner(learned.scenario, learned.registry, 999).run()


def test_the_source_is_the_candidate_of_the_scenario_version_else_the_champion(learned, factory):
    registry = learned.registry
    name, scenario = elsewhere(learned, factory)

    other = scenario.model_copy(update={"version": "v2", "classes": ("person",)})

    def register(made_from):
        tags = {"guardianflow.scenario_digest": made_from.digest}
        return registry.register_model(factory.run(), "model", name, tags=tags).version

    with pytest.raises(NoCandidate, match="run learned-ppe --type train --version v1"):
        choose_source(registry, scenario)
    first = register(scenario)
    assert choose_source(registry, scenario) == first
    registry.promote_to_champion(name)
    second = register(other)
    # @candidate belongs to v2 now: of v1 there is the champion
    assert choose_source(registry, scenario) == first
    assert choose_source(registry, other) == second
    third = register(scenario)
    assert choose_source(registry, scenario) == third
    registry.promote_to_champion(name)
    registry.rollback(name, reason="test")
    # the third is @candidate again, but quarantined
    assert choose_source(registry, scenario) == first


def test_a_version_that_says_the_same_is_quantized_from_the_same_training(learned):
    same = learned.scenario.model_copy(update={"version": "v4"})
    trained = TrainingRunner(same, learned.registry).run()
    assert trained.reused
    assert trained.version == learned.trained.version
    assert choose_source(learned.registry, same) == trained.version
    made = QuantizationRunner(same, learned.registry, trained.version).run()
    assert made.reused
    assert made.version == learned.quantized.version


def test_an_edited_version_is_not_quantized(learned):
    edited = learned.scenario.model_copy(update={"quantization": QuantizationSettings()})
    with pytest.raises(ScenarioFrozen, match="add v2"):
        QuantizationRunner(edited, learned.registry, learned.trained.version).run()
