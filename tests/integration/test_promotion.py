import uuid
from pathlib import Path

import pytest

from guardianflow.errors import (
    ApprovalVoid,
    ChampionChanged,
    GateFailed,
    NoCandidate,
    ReleaseChanged,
)
from guardianflow.evaluation.gate import GateOutcome
from guardianflow.promotion import decide, propose
from guardianflow.promotion.approval.policy import Answer, Choice
from guardianflow.promotion.form import alerts
from guardianflow.scenario import FolderData, GateSettings
from guardianflow.vision.data.dataset import prepare_dataset
from guardianflow.wording.language import Language
from testbed.runs import make_run
from tests.integration.release_kit import register_copy, register_release

APPROVED = Answer(decision=Choice.APPROVE, approver="Kim Minji", reason="saw the pictures")
REJECTED = Answer(decision=Choice.REJECT, approver="Kim Minji", reason="masks are missed")
OPEN_GATE = GateSettings(min_map50=0.0, max_regression=1.0, min_images=1)


@pytest.fixture
def registry(learned, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(learned.home))
    return learned.registry


@pytest.fixture
def name():
    return f"test/plant-{uuid.uuid4().hex[:10]}/welding/ppe"


def token():
    return f"test-{uuid.uuid4()}"


def aliases(registry, name):
    return {info.version: set(info.aliases) for info in registry.list_versions(name)}


def everything(registry, name):
    """All that a promotion may write: experiments, runs, tags, aliases, operations."""
    experiments = {e.experiment_id: e.name for e in registry.client.search_experiments()}
    runs = {r.info.run_id for r in registry.client.search_runs(list(experiments))}
    models = [(n, registry.list_versions(n)) for n in (name, f"{name}__openvino_int8")]
    return experiments, runs, models, registry.history(name)


def artifacts(registry, run_id):
    return {file.path for file in registry.client.list_artifacts(run_id)}


def text_of(registry, run_id, file):
    return Path(registry.client.download_artifacts(run_id, file)).read_text("utf-8")


def promote(registry, name):
    mine = token()
    return decide(
        registry, propose(registry, name, token=mine, requested_by="test"), [APPROVED], token=mine
    )


def test_a_release_is_measured_and_promoted_as_one(registry, learned, name):
    base = register_release(learned, name, gate=OPEN_GATE)
    mine = token()
    proposal = propose(registry, name, token=mine, requested_by="lee")
    assert [s.model_name for s in proposal.subjects] == [name, f"{name}__openvino_int8"]
    assert all(s.candidate.images == 12 for s in proposal.subjects)
    assert proposal.gate.outcome is GateOutcome.PASSED
    assert proposal.headline.startswith("The first version here: nothing to compare with. Of 100")
    decided = decide(registry, proposal, [APPROVED], token=mine)
    assert decided.operation.actor == "Kim Minji (declared)"
    assert decided.operation.evidence.startswith(f"{proposal.evidence_run_id}:")
    for model in (name, f"{name}__openvino_int8"):
        assert registry.get_champion(model).version == base.version


def test_the_gate_of_today_counts_and_another_one_voids_what_was_asked(registry, learned, name):
    register_release(learned, name, gate=OPEN_GATE)
    recorded = learned.scenario.model_copy(update={"gate": OPEN_GATE})
    strict = recorded.model_copy(update={"gate": GateSettings(min_map50=1.0, min_images=1)})
    with pytest.raises(GateFailed):
        propose(registry, name, token=token(), requested_by="lee", today=lambda *_: strict)
    korean = recorded.model_copy(update={"language": Language.KO})
    mine = token()
    proposal = propose(registry, name, token=mine, requested_by="lee", today=lambda *_: recorded)
    for today, why in (
        (strict, "the gate settings of scenario learned-ppe v1 were changed"),
        (korean, "the language settings of scenario"),
    ):
        with pytest.raises(ApprovalVoid, match=why):
            decide(registry, proposal, [APPROVED], token=mine, today=lambda *_, t=today: t)
    # Another training of that version is no part of what was asked: it would be another version.
    training = recorded.training.model_copy(update={"epochs": 99})
    again = recorded.model_copy(update={"training": training})
    done = decide(registry, proposal, [APPROVED], token=mine, today=lambda *_: again)
    assert done.operation.changed


def test_the_record_holds_page_and_pictures_and_is_made_once(registry, learned, name):
    register_release(learned, name, gate=OPEN_GATE)
    mine = token()
    first = propose(registry, name, token=mine, requested_by="lee")
    again = propose(registry, name, token=mine, requested_by="lee")
    assert again == first
    files = artifacts(registry, first.evidence_run_id)
    assert {"evidence.md", "Proposal.json", "disagreements"} <= files


def test_a_dry_run_writes_nothing(registry, learned, name, monkeypatch):
    # A name of this test's own: on a fresh server the experiment must not even be made.
    monkeypatch.setattr("guardianflow.promotion.steps.PROMOTIONS", f"promotions-{uuid.uuid4()}")
    register_release(learned, name, gate=OPEN_GATE)
    before = everything(registry, name)
    proposal = propose(registry, name, token=token(), requested_by="lee", keep=False)
    assert proposal.evidence_run_id == ""
    assert proposal.moves
    assert everything(registry, name) == before


def test_champion_and_candidate_stand_side_by_side(registry, learned, name):
    register_release(learned, name, gate=OPEN_GATE)
    promote(registry, name)
    register_release(learned, name, gate=OPEN_GATE)
    proposal = propose(registry, name, token=token(), requested_by="lee")
    assert proposal.expected_champion == 1
    for subject in proposal.subjects:
        assert (subject.champion_version, subject.version) == (1, 2)
        # The same bytes on the same images: the figures must agree to the last digit.
        assert subject.champion == subject.candidate
        lost = subject.difference
        assert lost.images == 12
        assert set(lost.recall) == {"person", "helmet"}
        assert not any(lost.metrics().values())


def test_a_rejection_moves_nothing_and_stands_on_every_version(registry, learned, name):
    register_release(learned, name, gate=OPEN_GATE)
    before = aliases(registry, name)
    mine = token()
    proposal = propose(registry, name, token=mine, requested_by="lee")
    decided = decide(registry, proposal, [REJECTED], token=mine)
    assert decided.operation is None
    assert aliases(registry, name) == before
    for model in (name, f"{name}__openvino_int8"):
        version = registry.get_version(model, 1)
        assert version.status == "rejected"
        assert "masks are missed" in version.tags["guardianflow.status_reason"]


def test_what_went_into_production_meanwhile_is_not_marked_as_rejected(registry, learned, name):
    base = register_release(learned, name, gate=OPEN_GATE)
    mine = token()
    late = propose(registry, name, token=mine, requested_by="lee")
    promote(registry, name)
    with pytest.raises(ChampionChanged):
        decide(registry, late, [REJECTED], token=mine)
    assert registry.get_version(name, base.version).status == "champion"
    register_release(learned, name, gate=OPEN_GATE)
    promote(registry, name)
    decide(registry, late, [REJECTED], token=mine)
    assert registry.get_version(name, base.version).status == "former"


def test_a_champion_that_moved_voids_the_proposal(registry, learned, name):
    register_release(learned, name, gate=OPEN_GATE)
    promote(registry, name)
    register_release(learned, name, gate=OPEN_GATE)
    mine = token()
    stale = propose(registry, name, 2, token=mine, requested_by="lee")
    register_release(learned, name, gate=OPEN_GATE)
    promote(registry, name)
    with pytest.raises(ChampionChanged) as refused:
        decide(registry, stale, [APPROVED], token=mine)
    assert (refused.value.expected, refused.value.actual) == (1, 3)
    assert registry.get_champion(name).version == 3


def test_a_twin_that_came_after_the_proposal_is_not_promoted_unseen(registry, learned, name):
    twin = f"{name}__openvino_int8"
    base = register_copy(learned, name, gate=OPEN_GATE)
    mine = token()
    proposal = propose(registry, name, token=mine, requested_by="lee")
    register_copy(learned, name, source=base.version, gate=OPEN_GATE)
    with pytest.raises(ReleaseChanged, match="promote") as refused:
        decide(registry, proposal, [APPROVED], token=mine)
    assert refused.value.exit_code == 3
    assert refused.value.data["actual"] == {name: (None, 1), twin: (None, 1)}
    assert registry.history(name) == []
    assert aliases(registry, name) == aliases(registry, twin) == {1: {"candidate"}}


def test_deciding_twice_is_one_operation(registry, learned, name):
    register_release(learned, name, gate=OPEN_GATE)
    mine = token()
    proposal = propose(registry, name, token=mine, requested_by="lee")
    first = decide(registry, proposal, [APPROVED], token=mine)
    second = decide(registry, proposal, [APPROVED], token=mine)
    assert first.operation.seq == second.operation.seq
    assert len(registry.history(name)) == 1


def test_the_gate_refuses_keeps_the_evidence_and_yields_to_force(registry, learned, name):
    register_release(learned, name, gate=GateSettings(min_map50=1.0, min_images=1))
    mine = token()
    with pytest.raises(GateFailed) as refused:
        propose(registry, name, token=mine, requested_by="lee")
    run_id = refused.value.data["evidence_run_id"]
    assert "evidence.md" in artifacts(registry, run_id)
    with pytest.raises(GateFailed):
        propose(registry, name, token=mine, requested_by="lee")
    why = {"force": True, "reason": "the old one is blind at night"}
    mine = token()
    forced = propose(registry, name, token=mine, requested_by="lee", **why)
    assert forced.gate.outcome is GateOutcome.FAILED
    assert registry.get_champion(name) is None
    [said] = [one for one in alerts(forced) if "the old one is blind at night" in one]
    assert "lee" in said
    assert said in text_of(registry, forced.evidence_run_id, "evidence.md")
    done = decide(registry, forced, [APPROVED], token=mine)
    assert done.operation.reason == (
        "gate FAILED, overridden by lee: the old one is blind at night; approved: saw the pictures"
    )


def test_what_cannot_be_measured_asks_a_person(registry, name):
    run_id = make_run(registry.client, {"weights/best.pt": b"raw"}, model=False)
    registry.register_model(run_id, "weights/best.pt", name)
    proposal = propose(registry, name, token=token(), requested_by="lee")
    assert proposal.gate.outcome is GateOutcome.INCONCLUSIVE


def test_an_evaluation_set_that_changed_is_no_evidence(registry, learned, name):
    settings = learned.scenario.dataset.model_copy(update={"seed": 99})
    other = prepare_dataset(settings, learned.scenario.classes).root
    folder = FolderData(kind="folder", path=str(other))
    register_release(learned, name, gate=OPEN_GATE, dataset=folder)
    proposal = propose(registry, name, token=token(), requested_by="lee")
    assert proposal.gate.outcome is GateOutcome.INCONCLUSIVE
    assert "not hold the images and labels" in proposal.gate.summary()
    assert proposal.images == 0


def test_the_champion_itself_changes_nothing(registry, learned, name):
    base = register_release(learned, name, gate=OPEN_GATE)
    promote(registry, name)
    proposal = propose(registry, name, base.version, token=token(), requested_by="lee")
    assert proposal.changes_nothing


def test_nothing_to_promote_is_said(registry, learned, name):
    register_release(learned, name, gate=OPEN_GATE)
    promote(registry, name)
    with pytest.raises(NoCandidate):
        propose(registry, name, token=token(), requested_by="lee")
