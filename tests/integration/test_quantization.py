"""Quantization on a real MLflow server: from a registered version to the INT8 variant."""

import json
from dataclasses import replace

import pytest
from mlflow import pyfunc

from guardianflow.cli import main
from guardianflow.errors import (
    ArtifactMissing,
    CalibrationUnfit,
    InputError,
    NoCandidate,
    ScenarioFrozen,
    ScenarioInvalid,
    VersionNotReady,
)
from guardianflow.evaluation import speed
from guardianflow.evaluation.gate import GateOutcome, judge_variant
from guardianflow.evaluation.speed import machine
from guardianflow.evaluation.variant_records import read_cost
from guardianflow.lifecycle.quantization import QuantizationRunner, choose_source, variants
from guardianflow.lifecycle.quantization import runner as quantization_runner
from guardianflow.lifecycle.quantization.calibration import choose, refuse_unlike
from guardianflow.lifecycle.quantization.remeasuring import measure_speed
from guardianflow.lifecycle.quantization.variants import Making
from guardianflow.lifecycle.training import TrainingRunner
from guardianflow.mlflow_store.runs import read_run_text
from guardianflow.scenario import Precision, QuantizationSettings
from guardianflow.vision.data.dataset import load_image, prepare_dataset
from guardianflow.vision.ir import compression, ir
from guardianflow.vision.ir.serving import InputGeometry, IrDetector, place_frame
from guardianflow.vision.metrics.album import FILES as ALBUM
from guardianflow.vision.metrics.detections import detect
from guardianflow.vision.metrics.evaluation import evaluate
from guardianflow.vision.metrics.thresholds import choose_thresholds


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
    assert made.variant.images == 12
    assert made.variant.map50 > made.fp32.map50 - 0.1
    assert made.variant.map50 in made.variant.map50_bounds
    lost = made.cost.difference.map50
    assert lost.value == pytest.approx(made.variant.map50 - made.fp32.map50, abs=1e-6)
    assert lost.low <= lost.value <= lost.high
    run = learned.registry.client.get_run(made.run_id)
    assert run.data.metrics["difference.map50_low"] == pytest.approx(lost.low)


def test_latency_names_precision_and_processor(learned):
    made = learned.quantized
    assert (made.speed.fp32.precision, made.speed.variant.precision) == ("f32", "int8")
    assert made.speed.default.precision in ("f32", "bf16")
    assert made.speed.variant.instruction_set
    assert made.speed.variant.cpu
    run = learned.registry.client.get_run(made.run_id)
    assert run.data.metrics["latency.int8.p50_ms"] == pytest.approx(made.speed.variant.p50_ms)
    assert run.data.metrics["size.int8_kib"] < run.data.metrics["size.fp32_kib"]


def test_the_variant_says_what_it_was_made_from(learned):
    info = learned.registry.get_version(learned.variant, learned.quantized.version)
    assert info.tags["backend"] == "openvino"
    assert info.tags["precision"] == "int8"
    assert info.tags["source_run_id"] == learned.trained.run_id
    assert info.source_version == learned.trained.version
    assert info.tags["guardianflow.variant_outcome"] == learned.quantized.outcome.outcome
    assert info.tags[f"guardianflow.latency.{machine()}"] == learned.quantized.speed.sentence()
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


def test_the_variant_shows_from_the_same_scores_as_its_source(learned):
    folder, source = (
        learned.registry.download(name, version)
        for name, version in (
            (learned.variant, learned.quantized.version),
            (learned.name, learned.trained.version),
        )
    )
    own = IrDetector(folder / "artifacts" / "ir").thresholds
    assert own == IrDetector(source / "artifacts" / "ir").thresholds
    chosen = learned.quantized.variant.thresholds
    assert own == tuple(chosen[name] for name in learned.scenario.classes)
    val = prepare_dataset(learned.scenario.dataset, learned.scenario.classes).samples("val")
    found = detect(IrDetector(source / "artifacts" / "ir"), val)
    beta = learned.scenario.evaluation.beta
    assert own == choose_thresholds(found, val, learned.scenario.classes, beta=beta)
    served = pyfunc.load_model(str(folder)).unwrap_python_model()
    assert served.score_threshold == own
    override = pyfunc.load_model(str(folder), model_config={"score_threshold": 0.0})
    assert override.unwrap_python_model().score_threshold == 0.0


def test_a_quantization_is_found_again(learned, monkeypatch):
    # Finished work needs no files of its source, which may be gone.
    monkeypatch.setattr(quantization_runner, "ir_folder", None)
    again = QuantizationRunner(learned.scenario, learned.registry, learned.trained.version).run()
    assert again.reused
    assert again.version == learned.quantized.version
    assert again.variant == learned.quantized.variant
    assert again.cost == learned.quantized.cost


def test_a_version_without_an_ir_is_refused(learned, factory):
    name, scenario = elsewhere(learned, factory)
    bare = learned.registry.register_model(factory.run({"best.pt": b"weights"}), "model", name)
    with pytest.raises(ArtifactMissing, match="no OpenVINO IR"):
        QuantizationRunner(scenario, learned.registry, bare.version).run()


def test_a_source_with_other_classes_is_refused(learned):
    other = learned.scenario.model_copy(update={"version": "v19", "classes": ("person", "vest")})
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
        tags = {"guardianflow.work_digest": made_from.digest}
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
    with pytest.raises(ScenarioFrozen, match="put it into a new version"):
        QuantizationRunner(edited, learned.registry, learned.trained.version).run()


def test_both_presets_were_tried_and_the_better_kept(learned):
    text = read_run_text(learned.registry.client, learned.quantized.run_id, "making.json")
    making = Making.model_validate_json(text)
    assert [trial.preset for trial in making.trials] == ["mixed", "performance"]
    best = max(trial.map50_95 for trial in making.trials)
    assert making.kept.map50_95 >= best - 0.002
    assert making.kept.images == 8
    assert making.calibration.images == 16
    assert making.calibration.high > 200


def test_the_run_says_what_was_left_in_float_and_why(learned):
    run = learned.registry.client.get_run(learned.quantized.run_id)
    assert (run.data.params["model_type"], run.data.params["bias_correction"]) == ("cnn", "exact")
    assert "pixels and probabilities need more than 256 steps" in run.data.params["left_in_float"]
    making = Making.model_validate_json(
        read_run_text(learned.registry.client, learned.quantized.run_id, "making.json")
    )
    assert [left.part for left in making.plan.left_in_float] == ["decoding"]
    assert making.kept.agreement > 0.5
    # What was made of our own networks before is still the same work.
    assert run.data.tags["guardianflow.recipe"] == "4"


def test_the_gate_reads_what_the_run_kept(learned):
    cost = read_cost(learned.registry.client, learned.quantized.run_id)
    assert cost == learned.quantized.cost
    assert cost.measured_on == (machine(),)
    assert cost.size_kib < cost.source_size_kib / 2


def test_ranges_from_bad_images_cost_accuracy_and_are_refused_before(learned, tmp_path):
    """Without the check a dark set, or pixels scaled twice, break the detector in silence."""
    dataset = prepare_dataset(learned.scenario.dataset, learned.scenario.classes)
    files = learned.registry.download(learned.name, learned.trained.version)
    fp32, samples = files / "artifacts" / "ir", dataset.samples("test")
    geometry = InputGeometry(128, 128)
    good = choose(dataset.samples("train"), 16, geometry).squares
    seen = [place_frame(load_image(sample.image), geometry).picture for sample in samples]
    sets = {
        "dark": [square // 8 for square in good],
        "scaled twice": [square // 255 for square in good],
    }
    map50 = {}
    for name, squares in sets.items():
        quantized = compression.quantize_ir(fp32, squares, compression.Preset.MIXED)
        detector = IrDetector(ir.save(quantized, tmp_path / name))
        map50[name] = evaluate(detect(detector, samples), samples, dataset.classes).map50
    for name, figure in map50.items():
        assert figure < learned.quantized.variant.map50 - 0.1, map50
        with pytest.raises(CalibrationUnfit, match="unlike the evaluation images, input range"):
            refuse_unlike(sets[name], seen)
    refuse_unlike(good, seen)


def test_a_runner_with_a_dark_train_split_makes_nothing(learned, monkeypatch):
    monkeypatch.setattr(variants, "choose", lambda *a, **k: dark(choose(*a, **k)))
    # another identity, or the quantization would be found instead
    monkeypatch.setattr("guardianflow.lifecycle.quantization.runner.RECIPE", "dark")
    with pytest.raises(CalibrationUnfit, match="Nothing was quantized"):
        QuantizationRunner(learned.scenario, learned.registry, learned.trained.version).run()


def dark(chosen):
    return replace(chosen, squares=tuple(square // 8 for square in chosen.squares))


def test_fp16_is_half_as_large_and_as_good(learned):
    runner = QuantizationRunner(
        learned.scenario, learned.registry, learned.trained.version, precision=Precision.FP16
    )
    made = runner.run()
    info = learned.registry.get_version(f"{learned.name}__openvino_fp16", made.version)
    assert (info.tags["precision"], info.source_version) == ("fp16", learned.trained.version)
    assert made.variant.map50 == pytest.approx(made.fp32.map50, abs=0.01)
    assert made.cost.size_kib < 0.7 * made.cost.source_size_kib
    assert {reason.rule for reason in made.outcome.reasons} == {
        "as good as its source: accuracy",
        "as good as its source: recall",
    }
    assert runner.run().version == made.version


def test_speed_is_measured_once_on_each_kind_of_machine(learned, monkeypatch, capsys):
    again = measure_speed(learned.registry, learned.variant, learned.quantized.version)
    assert again.reused
    assert again.report == learned.quantized.speed
    # as on the edge box of another plant
    monkeypatch.setattr(speed, "cpu_name", lambda: "Other CPU @ 2 GHz")
    cost = read_cost(learned.registry.client, learned.quantized.run_id)
    assert cost.speed is None
    wanted = learned.scenario.gate.model_copy(update={"min_speedup": 1.0})
    told = judge_variant(learned.variant, cost, wanted).reasons[-1]
    assert told.outcome is GateOutcome.INCONCLUSIVE
    assert f"guardianflow measure {learned.variant}" in told.message
    monkeypatch.setenv("MLFLOW_TRACKING_URI", learned.registry.client.tracking_uri)
    with pytest.raises(SystemExit) as left:
        main(["measure", learned.variant, "--model-version", str(again.version), "--json"])
    assert left.value.code == 0
    answer = json.loads(capsys.readouterr().out)
    assert not answer["reused"]
    assert answer["speed"]["machine"].endswith("--Other-CPU-2-GHz")
    assert measure_speed(learned.registry, learned.variant, again.version).reused
    cost = read_cost(learned.registry.client, learned.quantized.run_id)
    assert len(cost.measured_on) == 2
    assert cost.speed.speedup == answer["speed"]["speedup"]


def test_a_base_is_no_variant(learned):
    with pytest.raises(InputError, match="is a base"):
        measure_speed(learned.registry, learned.name)
