"""The question to people on a real MLflow server, without Prefect: void, codes, two approvers."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from pyotp.totp import TOTP

from guardianflow.cli import main
from guardianflow.errors import (
    ApprovalExpired,
    ApprovalRequired,
    ApprovalVoid,
    ArtifactMissing,
    InputError,
    VersionRejected,
)
from guardianflow.mlflow_store.registered_models import STATUS_TAG
from guardianflow.names import ModelName
from guardianflow.promotion import decide, expire, propose
from guardianflow.promotion.approval.approval_log import open_approval_log
from guardianflow.promotion.approval.one_time_codes import enrol, read_approvers, spend
from guardianflow.promotion.approval.policy import Answer, ApprovalRule, Choice, Identity, Proof
from guardianflow.promotion.approval.stored_rules import (
    RULES_TAG,
    mirror_rules,
    read_rule,
    read_rules,
    require_a_command_may,
)
from guardianflow.promotion.question import MAX_WRONG_CODES, Question, open_questions
from tests.integration.release_kit import files_on_server

KIM = Answer(decision=Choice.APPROVE, approver="Kim Minji", reason="saw the pictures")
LEE = Answer(decision=Choice.APPROVE, approver="Lee Jun", reason="saw them, too")
NO = Answer(decision=Choice.REJECT, approver="Kim Minji", reason="masks are missed")


class Case:
    """One request about one version, under rules of this model alone."""

    def __init__(self, factory, others=(), **rule):
        self.registry = factory.registry
        self.client = factory.registry.client
        self.name = factory.name()
        self.version = factory.base(self.name).version
        self.request = str(uuid.uuid4())
        self.begun = datetime.now(UTC)
        self.rules(**rule)

    def rules(self, **rule):
        mine = [ApprovalRule(models=self.name, **rule)] if rule else []
        mirror_rules(self.client, mine)

    def question(self, number=1):
        return Question(self.registry, self.request, self.begun, number)

    def propose(self, **options):
        asked = {"token": str(uuid.uuid4()), "requested_by": "Park", **options}
        return propose(self.registry, self.name, **asked)

    def ask(self, number=1):
        return self.question(number).ask(self.propose)

    def decide(self, proposal, answers, number=1):
        return decide(self.registry, proposal, answers, token=f"promotion-{self.request}")

    def champion(self):
        found = self.registry.get_champion(self.name)
        return found.version if found else None


@pytest.fixture
def case(factory):
    made = Case(factory)
    yield made
    made.rules()
    # A pass of `reconcile` in other tests would tell of them.
    for question in open_questions(made.client):
        if question.asked.model_name == made.name:
            question.close("the test is over")


class Person:
    """Somebody who is enrolled on this worker, under a name of this test's own."""

    def __init__(self, path):
        self.name = f"Kim {uuid.uuid4().hex}"
        enrol(path, self.name)
        self.totp = TOTP(read_approvers(path)[self.name])
        self.yes = KIM.model_copy(update={"approver": self.name})

    def code(self, now):
        return self.totp.at(now)


@pytest.fixture
def people(tmp_path, monkeypatch):
    path = tmp_path / "approvers.json"
    monkeypatch.setenv("GUARDIANFLOW_APPROVERS", str(path))
    return Person(path), Person(path)


def test_an_approval_says_how_its_approver_is_known_and_what_it_was_bound_to(case):
    proposal = case.ask()
    standing = case.question().take(proposal, 1, KIM)
    assert standing.decision is Choice.APPROVE
    operation = case.decide(proposal, standing.counted).operation
    assert operation.actor == "Kim Minji (declared)"
    run_id, digest, binding = operation.evidence.split(":")
    assert (run_id, digest) == (proposal.evidence_run_id, proposal.digest)
    assert binding == proposal.binding.digest
    info = case.registry.get_version(case.name, case.version)
    files = proposal.binding.files[case.name]
    assert files == {
        "MLmodel": info.tags["guardianflow.sha256.MLmodel"],
        "artifacts/ir/model.bin": info.tags["guardianflow.sha256.artifacts/ir/model.bin"],
    }


def test_doctor_does_not_go_past_an_open_question(
    case, factory, mlflow_server, monkeypatch, capsys
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    case.registry.promote_to_champion(case.name)
    factory.base(case.name)

    def remedy():
        with pytest.raises(SystemExit):
            main(["doctor", case.name, "--json"])
        found = json.loads(capsys.readouterr().out)["findings"]
        return next(one["remedy"] for one in found if one["code"] == "no-way-back")

    assert "guardianflow promote" in remedy()
    case.ask()
    assert "people are asked about version 2: `guardianflow pending`" in remedy()
    assert "guardianflow promote" not in remedy()


def test_what_was_asked_and_answered_is_found_again_by_any_worker(case):
    proposal = case.ask()
    first = case.question().take(proposal, 1, KIM)
    # Another process: it measures nothing again, and an answer that is given again counts once.
    again = case.question().ask(lambda: pytest.fail("asked anew"))
    assert again == proposal
    assert case.question().take(again, 1, LEE) == first
    assert case.question().version == case.version


def test_evidence_that_was_changed_after_it_was_asked_is_void(case, tmp_path):
    proposal = case.ask()
    changed = proposal.model_copy(update={"headline": "all is fine"})
    path = tmp_path / "Proposal.json"
    path.write_text(changed.model_dump_json())
    case.client.log_artifact(proposal.evidence_run_id, str(path))
    with pytest.raises(ApprovalVoid, match="was changed"):
        case.ask()
    # The record that is as it was does not bring it back.
    path.write_text(proposal.model_dump_json())
    case.client.log_artifact(proposal.evidence_run_id, str(path))
    with pytest.raises(ApprovalVoid, match="was changed"):
        case.ask()
    case.client.delete_run(proposal.evidence_run_id)
    with pytest.raises(ApprovalVoid):
        case.ask()


def test_files_that_were_exchanged_with_their_fingerprints_void_the_approval(case):
    proposal = case.ask()
    tag = "guardianflow.sha256.artifacts/ir/model.bin"
    case.registry.set_version_tag(case.name, case.version, tag, "f" * 64)
    with pytest.raises(ApprovalVoid, match=r"model\.bin of .* is another one now"):
        case.decide(proposal, [KIM])
    assert case.champion() is None


def test_bytes_that_differ_void_the_approval_and_are_not_measured_from_a_copy(case, mlflow_folder):
    proposal = case.ask()
    # The local copy is whole.
    case.registry.download(case.name, case.version)
    folder = files_on_server(case.registry, mlflow_folder, case.name, case.version)
    (folder / "artifacts/ir/model.bin").write_bytes(b"another")
    with pytest.raises(ArtifactMissing, match=r"model\.bin differs"):
        case.decide(proposal, [KIM])
    assert case.champion() is None
    anew = case.propose()
    assert "differs from what was registered" in anew.gate.summary()


@pytest.mark.parametrize("stricter", [{"four_eyes": True}, {"expires_after_days": 1}])
def test_a_policy_that_was_changed_voids_question_and_approval(case, stricter):
    proposal = case.ask()
    case.rules(**stricter)
    with pytest.raises(ApprovalVoid, match="policy was changed"):
        case.decide(proposal, [KIM])
    for _ in range(2):
        with pytest.raises(ApprovalVoid) as void:
            case.question().take(proposal, 1, KIM)
        assert void.value.message == "the approval policy was changed"
        # It stays void, also when the policy is as it was.
        case.rules()
    assert case.question().void_rounds() == ["the approval policy was changed"]


def test_what_is_decided_stays_decided_whatever_changes_then(case):
    proposal = case.ask()
    done = case.decide(proposal, [KIM]).operation
    case.rules(four_eyes=True)
    assert case.decide(proposal, [KIM]).operation.seq == done.seq


def test_an_answer_comes_too_late(case):
    case.rules(expires_after_days=1)
    proposal = case.ask()
    late = datetime.now(UTC) + timedelta(days=1, seconds=1)
    with pytest.raises(ApprovalExpired, match="was to be given until"):
        case.question().take(proposal, 1, KIM, now=late)
    assert case.question().status(proposal).answers == ()
    stale = proposal.model_copy(update={"time": proposal.time - timedelta(days=2)})
    with pytest.raises(ApprovalExpired):
        case.decide(stale, [KIM])
    assert case.champion() is None


def test_a_question_that_a_clock_of_the_future_asked_does_not_stay_open_until_then(case):
    proposal = case.ask()
    with pytest.raises(ApprovalExpired, match="a clock was wrong"):
        case.question().take(proposal, 1, KIM, now=proposal.time - timedelta(days=90))
    # Ahead by an hour it harms nobody.
    soon = proposal.time - timedelta(hours=1)
    assert case.question().take(proposal, 1, KIM, now=soon).decision is Choice.APPROVE
    ahead = proposal.model_copy(update={"time": proposal.time + timedelta(days=90)})
    with pytest.raises(ApprovalExpired, match="a clock was wrong"):
        case.decide(ahead, [KIM])
    assert case.champion() is None


def test_who_asked_may_not_approve_and_somebody_has_to_have_asked(case):
    case.rules(four_eyes=True)
    with pytest.raises(InputError, match="says to come from lifecycle"):
        case.propose(requested_by="lifecycle")
    proposal = case.question().ask(lambda: case.propose(requested_by="kim minji@laptop (CLI)"))
    standing = case.question().take(proposal, 1, KIM)
    assert "somebody else has to approve" in standing.complaint
    assert standing.decision is None
    with pytest.raises(ApprovalRequired):
        case.decide(proposal, [KIM])
    assert case.question().take(proposal, 2, LEE).decision is Choice.APPROVE


def test_two_people_approve_and_both_are_in_the_ledger(case):
    case.rules(approvals_needed=2)
    proposal = case.ask()
    assert case.question().take(proposal, 1, KIM).decision is None
    twice = case.question().take(proposal, 2, KIM)
    assert "has approved already" in twice.complaint
    with pytest.raises(ApprovalRequired, match="two different people"):
        case.decide(proposal, twice.counted)
    standing = case.question().take(proposal, 3, LEE)
    operation = case.decide(proposal, standing.counted).operation
    assert operation.actor == "Kim Minji (declared), Lee Jun (declared)"
    assert operation.reason == "Kim Minji: saw the pictures; Lee Jun: saw them, too"


def test_a_right_code_proves_who_it_is_and_no_code_is_kept(case, people):
    kim, _ = people
    case.rules(proof=Proof.TOTP)
    proposal, now = case.ask(), datetime.now(UTC)
    standing = case.question().take(proposal, 1, kim.yes, kim.code(now), now=now)
    assert standing.answers[0].identity is Identity.CODE
    operation = case.decide(proposal, standing.counted).operation
    assert operation.actor == f"{kim.name} (proven by one-time code)"
    entries = open_approval_log(case.client, case.begun).entries()
    kept = json.dumps({k: v for k, v in entries.items() if k.startswith(f"answer.{case.request}")})
    assert kim.name in kept
    assert kim.code(now) not in kept.replace(kim.name, "")
    assert kim.totp.secret not in json.dumps(entries)
    # An hour later the flow starts from the top: the answer counts, whatever the clock says.
    late = now + timedelta(hours=1)
    assert case.question().take(proposal, 1, kim.yes, kim.code(now), now=late) == standing


def test_a_code_counts_once_on_whichever_worker(case, people):
    kim, _ = people
    case.rules(proof=Proof.TOTP)
    first, now = case.ask(), datetime.now(UTC)
    assert case.question().take(first, 1, kim.yes, kim.code(now), now=now).decision
    case.request = str(uuid.uuid4())
    second = case.ask()
    replayed = case.question().take(second, 1, kim.yes, kim.code(now), now=now)
    assert "used before" in replayed.complaint
    assert replayed.decision is None
    # Another spelling of the name is the same person.
    loud = kim.yes.model_copy(update={"approver": kim.name.upper().replace(" ", "  ")})
    assert "used before" in case.question().take(second, 2, loud, kim.code(now), now=now).complaint
    # The next code is another one.
    later = now + timedelta(seconds=30)
    assert case.question().take(second, 3, kim.yes, kim.code(later), now=later).decision


def test_a_worker_that_died_after_spending_a_code_may_go_on(case, people):
    kim, _ = people
    case.rules(proof=Proof.TOTP)
    proposal, now = case.ask(), datetime.now(UTC)
    assert spend(case.client, kim.name, int(now.timestamp()) // 30, f"{case.request}.1.1")
    assert case.question().take(proposal, 1, kim.yes, kim.code(now), now=now).decision


def test_somebody_elses_code_is_wrong_and_five_wrong_ones_end_the_request(case, people):
    kim, lee = people
    case.rules(proof=Proof.TOTP)
    proposal, now = case.ask(), datetime.now(UTC)
    for number in range(1, MAX_WRONG_CODES + 1):
        assert not case.question().status(proposal).exhausted
        standing = case.question().take(proposal, number, kim.yes, lee.code(now), now=now)
        assert "wrong or too old" in standing.complaint
    assert standing.exhausted
    assert standing.decision is None
    # Lee's code was not spent by it.
    assert spend(case.client, lee.name, int(now.timestamp()) // 30, "lee's own")


def test_an_answer_that_does_not_count_spends_no_code(case, people):
    kim, lee = people
    case.rules(proof=Proof.TOTP, approvers=(lee.name,))
    proposal, now = case.ask(), datetime.now(UTC)
    standing = case.question().take(proposal, 1, kim.yes, kim.code(now), now=now)
    assert "none of the approvers" in standing.complaint
    assert not standing.answers[0].wrong_code
    assert spend(case.client, kim.name, int(now.timestamp()) // 30, "another")


def test_a_worker_without_secrets_costs_nobody_the_request(case, monkeypatch):
    monkeypatch.delenv("GUARDIANFLOW_APPROVERS", raising=False)
    case.rules(proof=Proof.TOTP)
    proposal = case.ask()
    for number in range(1, MAX_WRONG_CODES + 2):
        standing = case.question().take(proposal, number, KIM, "123456")
    assert "this worker cannot check codes" in standing.complaint
    assert not standing.exhausted


def test_a_rejected_version_is_proposed_again_only_with_a_reason(case):
    proposal = case.ask()
    case.decide(proposal, [NO])
    for nothing in ("", "  a "):
        with pytest.raises(VersionRejected, match="masks are missed") as refused:
            case.propose(reason=nothing)
        assert "--reason" in refused.value.remedy
    again = case.propose(reason="measured on the new line")
    assert any("masks are missed; now: measured on" in warning for warning in again.warnings)
    assert case.decide(again, [KIM]).operation.changed


def test_open_questions_are_those_whose_end_nobody_took_down(case):
    proposal = case.ask()
    with pytest.raises(ApprovalVoid, match="the champion moved"):
        case.question().void("the champion moved")
    [first] = mine(case)
    assert (first.key.number, first.asked.record) == (1, proposal.evidence_run_id)
    case.ask(2)
    [second] = mine(case)
    assert second.key.number == 2
    assert second.asked.versions == {case.name: case.version}
    second.close("cancelled")
    assert mine(case) == []


def mine(case):
    return [one for one in open_questions(case.client) if one.request == case.request]


def test_nobody_decided_stands_on_the_version_unless_it_says_more(case):
    expire(case.registry, {case.name: case.version, f"{case.name}__a_b": 7}, "nobody answered")
    info = case.registry.get_version(case.name, case.version)
    assert info.status == "expired"
    assert info.tags["guardianflow.status_reason"] == "nobody answered"
    # A person may still decide.
    assert case.decide(case.propose(), [KIM]).operation.changed
    expire(case.registry, {case.name: case.version}, "nobody answered")
    assert case.registry.get_version(case.name, case.version).status == "champion"
    case.registry.set_version_tag(case.name, case.version, STATUS_TAG, "rejected")
    expire(case.registry, {case.name: case.version}, "nobody answered")
    assert case.registry.get_version(case.name, case.version).status == "rejected"


def test_a_command_is_refused_where_more_than_a_name_is_asked(case):
    case.rules(approvers=("Kim Minji", "Lee Jun"))
    name = ModelName.parse(case.name)
    rule = read_rule(case.client, name)
    with pytest.raises(ApprovalRequired, match="--request") as refused:
        require_a_command_may(rule, name)
    assert refused.value.exit_code == 3
    account = KIM.model_copy(update={"approver": "root@host (CLI)", "identity": Identity.ACCOUNT})
    with pytest.raises(ApprovalRequired):
        case.decide(case.propose(), [account])


def test_rules_are_mirrored_once_and_what_is_no_rule_stops_everything(case):
    rules = [ApprovalRule(models=case.name, four_eyes=True)]
    assert mirror_rules(case.client, rules)
    assert not mirror_rules(case.client, rules)
    assert read_rules(case.client) == tuple(rules)
    with pytest.raises(InputError, match="more than 5000"):
        mirror_rules(case.client, [ApprovalRule(models="a" * 200)] * 40)
    where = case.client.get_experiment_by_name("guardianflow.ledger").experiment_id
    case.client.set_experiment_tag(where, RULES_TAG, '[{"models": "*", "approvals_needed": 0}]')
    with pytest.raises(InputError, match="holds no approval rules"):
        case.propose()
    assert mirror_rules(case.client, [])
    assert read_rules(case.client) == ()


def test_the_book_of_a_month_is_made_once(case):
    when = datetime(2031, 5, 31, 23, 59, tzinfo=UTC)
    first, again = open_approval_log(case.client, when), open_approval_log(case.client, when)
    assert first.run_id == again.run_id
    assert open_approval_log(case.client, datetime(2031, 6, 1, tzinfo=UTC)).run_id != first.run_id
    assert first.write("code.a.1", "mine") == "mine"
    assert again.write("code.a.1", "theirs") == "mine"
    assert first.entries()["code.a.1"] == "mine"
