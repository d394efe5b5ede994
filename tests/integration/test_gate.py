"""The gate on a real server: what it is asked about is measured, and looking writes nothing."""

import json
import shutil
import uuid
from pathlib import Path

import pytest

from guardianflow.cli.app import main
from guardianflow.errors import (
    ApprovalRequired,
    ArtifactMissing,
    GateFailed,
    InputError,
    NotComparable,
    VersionNotReady,
)
from guardianflow.evaluation.gate import GateOutcome, GateRule
from guardianflow.evaluation.version_comparison import DifferenceWord, compare_versions
from guardianflow.promotion import decide, propose
from guardianflow.promotion.approval.policy import Answer, ApprovalRule, Choice
from guardianflow.promotion.approval.stored_rules import mirror_rules
from guardianflow.promotion.form import alerts
from guardianflow.scenario import GateSettings
from guardianflow.vision.data.contamination import CONTAMINATION_FILE, ContaminationReport
from testbed.runs import make_run
from tests.integration.release_kit import files_on_server, register_copy

APPROVED = Answer(decision=Choice.APPROVE, approver="Kim Minji", reason="saw the pictures")
GATE = GateSettings(min_map50=0.0, max_regression=0.1, min_images=1)


@pytest.fixture
def registry(learned, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(learned.home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", learned.registry.client.tracking_uri)
    return learned.registry


@pytest.fixture
def name():
    return f"test/plant-{uuid.uuid4().hex[:10]}/welding/ppe"


def ask(registry, name, version=None, **options):
    asked = {"token": str(uuid.uuid4()), "requested_by": "lee", **options}
    return propose(registry, name, version, **asked)


def champion(registry, learned, name, **settings):
    """A first version in production."""
    register_copy(learned, name, **{"gate": GATE, **settings})
    token = str(uuid.uuid4())
    decide(registry, ask(registry, name, token=token), [APPROVED], token=token)


def command(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main([*map(str, words), "--json"])
    return left.value.code, json.loads(capsys.readouterr().out)


def outcome(report, rule):
    return {reason.outcome for reason in report.reasons if reason.rule is rule}


def everything(registry):
    """All that MLflow keeps: experiments, runs with their tags, files, params, models, versions."""
    client = registry.client
    experiments = {e.experiment_id: (e.name, dict(e.tags)) for e in client.search_experiments()}
    runs = {
        run.info.run_id: (run.info.status, run.data.tags, run.data.params, run.data.metrics)
        for run in client.search_runs(list(experiments), max_results=1000)
    }
    models = [(m.name, m.tags, m.aliases) for m in client.search_registered_models()]
    versions = [(v.name, v.version, v.tags) for v in client.search_model_versions(max_results=1000)]
    return experiments, runs, models, versions


def test_a_dry_run_judges_the_same_and_writes_nothing(registry, learned, name, capsys):
    champion(registry, learned, name)
    register_copy(learned, name, gate=GATE, blind=True)
    before = everything(registry)
    code, said = command(capsys, "promote", name, "--dry-run")
    assert (code, said["error"]["type"]) == (3, "GateFailed")
    assert said["error"]["evidence_run_id"] == ""
    dry = said["error"]["gate"]
    assert dry["outcome"] == "FAILED"
    forced = ("--force", "--reason", "just looking")
    code, said = command(capsys, "promote", name, "--dry-run", *forced)
    assert (code, said["changed"]) == (0, False)
    assert said["proposal"]["gate"] == dry
    assert everything(registry) == before
    with pytest.raises(GateFailed) as refused:
        ask(registry, name)
    assert refused.value.proposal.gate.model_dump(mode="json") == dry
    assert everything(registry) != before


def test_what_is_no_worse_passes_against_the_champion_of_now(registry, learned, name, capsys):
    champion(registry, learned, name)
    register_copy(learned, name, gate=GATE)
    code, said = command(capsys, "promote", name, "--dry-run")
    gate = said["proposal"]["gate"]
    assert (code, gate["outcome"]) == (0, "PASSED")
    rules = {reason["rule"]: reason for reason in gate["reasons"]}
    assert rules[GateRule.REGRESSION]["measured"] == 0.0
    assert rules[GateRule.WAY_BACK]["measured"] == 1
    assert rules[GateRule.DATA]["measured"] == 0


def test_two_versions_are_compared_on_the_same_images_and_nothing_is_written(
    registry, learned, name, capsys
):
    for blind in (False, True):
        register_copy(learned, name, gate=GATE, blind=blind)
    before = everything(registry)
    code, said = command(capsys, "compare", name, 1, 2)
    assert code == 0
    assert said["cost"]["time_ratio"]["low"] > 0
    assert said["cost"]["first"]["memory_mib"] > 0
    assert said["in_words"][-1].startswith("Cost on this machine")
    assert said["in_words"][1].startswith("Worse: of 100 ")
    assert said["difference"]["images"] == 12
    lost = said["difference"]["map50"]
    assert lost["value"] == pytest.approx(-said["first"]["evaluation"]["map50"])
    assert lost["low"] < lost["value"] < lost["high"] < 0
    assert said["message"].startswith("On the same 12 images ppe 2 is better in false alarms per")
    assert "worse in mAP50, mAP50-95, recall of person" in said["message"]
    assert said["gate"]["outcome"] == "FAILED"
    assert everything(registry) == before
    same = compare_versions(registry, name, 1, 1)
    assert {row.says for row in same.rows()} == {DifferenceWord.OPEN}
    assert same.gate.outcome is GateOutcome.PASSED


def test_a_variant_is_compared_with_its_base(registry, learned):
    found = compare_versions(registry, learned.name, 1, 1, against=learned.variant)
    assert (found.first.label, found.second.label) == ("ppe 1", "ppe__openvino_int8 1")
    assert found.second.evaluation == learned.quantized.variant
    assert found.difference == learned.quantized.cost.difference
    assert found.gate is None
    assert found.cost.second.size_mib < found.cost.first.size_mib
    assert found.cost.second.latency is None


def test_a_version_whose_files_are_gone_is_compared_by_what_its_run_recorded(
    registry, learned, name, mlflow_folder, capsys, monkeypatch, tmp_path
):
    for _ in range(2):
        register_copy(learned, name, gate=GATE)
    info = registry.get_version(name, 1)
    kept = registry.client.download_artifacts(learned.trained.run_id, "evaluation.json")
    registry.client.log_artifact(info.run_id, kept)
    shutil.rmtree(files_on_server(registry, mlflow_folder, name, 1))
    # Another machine, which has fetched neither.
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "one"))
    code, said = command(capsys, "compare", name, 1, 2, "--no-speed")
    assert code == 0
    assert said["difference"] is said["gate"] is said["cost"]["first"] is None
    assert "cannot be used" in said["first"]["problem"]
    assert said["first"]["evaluation"]["map50"] == learned.trained.evaluation.map50
    assert said["cost"]["second"]["size_mib"] > 0
    assert said["second"]["problem"] == ""
    shutil.rmtree(files_on_server(registry, mlflow_folder, name, 2))
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "another"))
    with pytest.raises(ArtifactMissing, match="cannot be used"):
        compare_versions(registry, name, 1, 2)


def test_what_cannot_be_compared_is_said(registry, learned, name, capsys):
    register_copy(learned, name)
    code, said = command(capsys, "compare", name, 1, 7)
    assert (code, said["error"]["type"]) == (3, "VersionNotReady")
    with pytest.raises(VersionNotReady, match="has no version 9"):
        compare_versions(registry, name, 9, 1)
    with pytest.raises(NotComparable, match="different models"):
        compare_versions(registry, name, 1, 1, against=learned.name)
    raw = make_run(registry.client, {"weights/best.pt": b"raw"}, model=False)
    registry.register_model(raw, "weights/best.pt", name)
    with pytest.raises(ArtifactMissing, match="recorded no evaluation set"):
        compare_versions(registry, name, 1, 2)


def test_versions_with_other_images_or_classes_are_not_compared(registry, learned, name):
    first = register_copy(learned, name)
    other = register_copy(learned, name, classes=("person", "vest"))
    with pytest.raises(NotComparable, match=r"detects person, helmet; .* detects person, vest"):
        compare_versions(registry, name, first.version, other.version)
    elsewhere = register_copy(learned, name, evaluated_on="f" * 36)
    with pytest.raises(NotComparable, match=f"was evaluated on other images .* {'f' * 36}"):
        compare_versions(registry, name, first.version, elsewhere.version)


def test_images_that_were_learned_from_are_refused(registry, learned, name, tmp_path):
    info = register_copy(learned, name, gate=GATE)
    kept = registry.client.download_artifacts(info.run_id, CONTAMINATION_FILE)
    clean = ContaminationReport.model_validate_json(Path(kept).read_text("utf-8"))
    assert (clean.exact, clean.near) == ({}, {})
    spoilt = clean.model_copy(update={"exact": {"train/test": 1}, "near": {"val/test": 2}})
    (tmp_path / CONTAMINATION_FILE).write_text(spoilt.model_dump_json(), "utf-8")
    registry.client.log_artifact(info.run_id, str(tmp_path / CONTAMINATION_FILE))
    with pytest.raises(GateFailed, match="3 images of the evaluation set are in train or val"):
        ask(registry, name)


def test_the_way_back_is_looked_at_before_it_is_needed(registry, learned, name, mlflow_folder):
    champion(registry, learned, name)
    register_copy(learned, name, gate=GATE)
    folder = files_on_server(registry, mlflow_folder, name, 1)
    (folder / "artifacts" / "ir" / "model.bin").write_bytes(b"damaged")
    with pytest.raises(GateFailed, match=r"@rollback would be version 1, but .* differs"):
        ask(registry, name)


def test_a_champion_that_was_held_out_otherwise_is_no_yardstick(registry, learned, name):
    champion(registry, learned, name, evaluated_on="f" * 36, gate=GATE)
    register_copy(learned, name, gate=GATE, blind=True)
    proposal = ask(registry, name)
    assert outcome(proposal.gate, GateRule.REGRESSION) == {GateOutcome.INCONCLUSIVE}
    assert "may have learned from these" in proposal.gate.summary()


@pytest.mark.parametrize(
    ("budget_ms", "expected"), [(60_000.0, GateOutcome.PASSED), (0.001, GateOutcome.FAILED)]
)
def test_a_budget_for_a_frame_is_measured_on_this_machine(
    registry, learned, name, budget_ms, expected
):
    register_copy(learned, name, gate=GATE.model_copy(update={"max_latency_ms": budget_ms}))
    proposal = ask(registry, name, force=True, reason="a test")
    assert outcome(proposal.gate, GateRule.LATENCY) == {expected}
    assert proposal.subjects[0].latency.repeats == 60


def test_only_who_is_named_overrides_the_gate_and_only_with_a_reason(registry, learned, name):
    never = GATE.model_copy(update={"min_map50": 1.0})
    register_copy(learned, name, gate=never)
    try:
        mirror_rules(
            registry.client, [ApprovalRule(models=name, overriders=("Park Jun", "kim@line3"))]
        )
        with pytest.raises(InputError, match="needs a reason"):
            ask(registry, name, requested_by="Park Jun", force=True)
        with pytest.raises(InputError, match="come from the Prefect server"):
            ask(registry, name, requested_by="the Prefect server", force=True, reason="night")
        for who in ("lee", "kim@elsewhere (CLI)", "kim"):
            with pytest.raises(ApprovalRequired, match="may not override the gate") as refused:
                ask(registry, name, requested_by=who, force=True, reason="the lamp was changed")
            assert refused.value.exit_code == 3
            assert refused.value.data["overriders"] == ["Park Jun", "kim@line3"]
        for who in ("park  jun", "kim@line3 (CLI)"):
            proposal = ask(registry, name, requested_by=who, force=True, reason="the lamp")
            assert proposal.overridden
            assert proposal.requested_by == who
            assert any("the lamp" in said for said in alerts(proposal))
    finally:
        mirror_rules(registry.client, [])
