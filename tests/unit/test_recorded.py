"""Recorded English sentences, each made by the code that records it, in the words of the floor."""

import logging
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Failed
from pydantic import ValidationError
from pyotp.totp import TOTP

from flows import promotion
from flows.approval_form import given_answer, unusable
from guardianflow.errors import (
    ApprovalVoid,
    ArtifactMissing,
    ChampionChanged,
    ReleaseChanged,
    VersionNotReady,
)
from guardianflow.mlflow_store.artifacts import SHA_TAG, SIZE_TAG, registered_files
from guardianflow.mlflow_store.registered_models import STATUS_TAG
from guardianflow.prefect_api.flowruns import describe_run
from guardianflow.promotion import decide, question, rejections, steps
from guardianflow.promotion.approval import one_time_codes
from guardianflow.promotion.approval.one_time_codes import enrol, read_approvers
from guardianflow.promotion.approval.policy import (
    Answer,
    ApprovalRule,
    Choice,
    Identity,
    Proof,
)
from guardianflow.promotion.binding import bind
from guardianflow.promotion.question import Question
from guardianflow.promotion.recorded_messages import recorded_in_words, void_in_words
from guardianflow.scenario.version import JUDGING
from guardianflow.wording.language import Language
from tests.unit.test_evidence import NAME, proposal

EN, KO = Language.EN, Language.KO
KIM = Answer(decision=Choice.APPROVE, approver="Kim Minji", reason="saw the pictures")
FILE = f"{SHA_TAG}model; the second.bin"
CODES = ApprovalRule(proof=Proof.TOTP)


class Book(dict):
    """An approval log in memory."""

    entries = dict.copy
    write = dict.setdefault


class Registry:
    """A registry in memory, of versions with one file."""

    client = None

    def __init__(self):
        self.gone, self.tags = False, {}

    def get_version(self, name, version):
        if self.gone:
            raise VersionNotReady("gone", remedy="")
        first = {FILE: "a" * 64, FILE.replace(SHA_TAG, SIZE_TAG): "7"}
        tags = {**first, **self.tags.get((name, version), {})}
        status = tags.get(STATUS_TAG, "")
        return SimpleNamespace(name=name, version=version, tags=tags, status=status, aliases=())

    def set_version_tag(self, name, version, key, value):
        self.tags.setdefault((name, version), {})[key] = value

    def get_champion(self, _name):
        return None

    def history(self, _name):
        return []


class Desk:
    """A question that waits, its rule of today, and who is enrolled."""

    def __init__(self, monkeypatch, path, rule=None, requester="Park"):
        book, self.registry, self.path = Book(), Registry(), path
        self.rule = rule or ApprovalRule()
        for module in (question, one_time_codes):
            monkeypatch.setattr(module, "open_approval_log", lambda *_: book)
        for module in (question, steps):
            monkeypatch.setattr(module, "read_rule", lambda *_: self.rule)
        monkeypatch.setenv("GUARDIANFLOW_APPROVERS", str(path))
        asked = proposal(policy=self.rule, requested_by=requester)
        gate, judging = asked.gate, dict.fromkeys(JUDGING, "then")
        bound = bind(self.registry, (NAME, 2), asked.moves, gate, self.rule, judging)
        self.proposal = asked.model_copy(update={"binding": bound})
        self.now = asked.time + timedelta(hours=1)
        self.number = 0

    @property
    def question(self):
        return Question(self.registry, "request", self.now, 1)

    def take(self, code="", answer=KIM):
        self.number += 1
        return self.question.take(self.proposal, self.number, answer, code, now=self.now)

    def void(self, monkeypatch, **today):
        monkeypatch.setattr(steps, "is_in_time", lambda *_: True)
        monkeypatch.setattr(steps, "require_in_time", lambda *_: None)
        now = SimpleNamespace(name="ppe", version="v3", judging=today)
        with pytest.raises(ApprovalVoid) as error:
            decide(self.registry, self.proposal, [KIM], token="t", today=lambda *_: now)
        return error.value.message


@pytest.fixture
def desk(monkeypatch, tmp_path):
    return lambda **options: Desk(monkeypatch, tmp_path / "approvers.json", **options)


def said(recorded, words=recorded_in_words):
    return words(recorded, EN), words(recorded, KO)


def test_who_may_not_answer_is_told(desk):
    assert said(desk(rule=ApprovalRule(approvers=("Lee Jun",))).take().complaint) == (
        "Kim Minji is not one of the approvers: Lee Jun",
        "Kim Minji 님은 승인자가 아님, 승인자: Lee Jun",
    )
    four_eyes = ApprovalRule(four_eyes=True)
    assert said(desk(rule=four_eyes, requester="Kim Minji").take().complaint) == (
        "Kim Minji asked for it, so somebody else has to approve it",
        "Kim Minji 님은 요청자이므로 다른 사람의 승인이 필요함",
    )
    two = desk(rule=ApprovalRule(approvals_needed=2))
    two.take()
    assert said(two.take().complaint) == (
        "Kim Minji has approved already, and another person is needed",
        "Kim Minji 님은 이미 승인했으므로 다른 사람의 승인이 필요함",
    )


def test_what_is_wrong_with_a_code_is_told(desk):
    mine = desk(rule=CODES)
    mine.path.write_text("[]")
    mine.path.chmod(0o600)
    english, korean = said(mine.take().complaint)
    assert english.startswith(f"this worker cannot check codes: {mine.path} is no file")
    assert korean.startswith(f"이 워커에서 코드를 확인할 수 없음, 기록: {mine.path} is no file")
    mine.path.write_text('{"min_reader": "99.1"}')
    assert "needs guardianflow 99.1" in said(mine.take().complaint)[0]
    mine.path.unlink()
    enrol(mine.path, KIM.approver)
    assert said(mine.take("000 000").complaint) == (
        "the one-time code is wrong or too old",
        "일회용 코드가 틀렸거나 유효 시간이 지남",
    )
    code = TOTP(read_approvers(mine.path)[KIM.approver]).at(mine.now)
    other = Question(mine.registry, "another", mine.now, 1)
    assert not other.take(mine.proposal, 1, KIM, code, now=mine.now).complaint
    assert said(mine.take(code).complaint) == (
        "the one-time code was used before; wait for the next one",
        "이미 사용한 일회용 코드이므로 다음 코드를 입력해야 함",
    )


@pytest.mark.parametrize(
    ("field", "english", "korean"),
    [
        ("approver", "the name is too short", "성함이 너무 짧음"),
        ("reason", "the reason is too short", "사유가 너무 짧음"),
    ],
)
def test_blanks_for_a_name_or_a_reason_are_told(field, english, korean):
    # They satisfy the server's schema.
    typed = SimpleNamespace(**{**KIM.model_dump(), field: "    "})
    with pytest.raises(ValidationError) as error:
        given_answer(typed)
    assert said(unusable(error.value)) == (english, korean)


def test_a_policy_that_was_changed_is_told_whoever_notices_it(desk, monkeypatch):
    mine = desk()
    mine.rule = ApprovalRule(four_eyes=True)
    told = ("the rules for approvals were changed meanwhile", "그사이 승인 규칙이 변경됨")
    assert said(mine.void(monkeypatch), void_in_words) == told
    with pytest.raises(ApprovalVoid) as error:
        mine.take()
    assert said(error.value.message, void_in_words) == told


@pytest.mark.parametrize(
    ("group", "korean"),
    [
        ("gate", "그사이 자동 점검 기준이 변경됨"),
        ("health", "그사이 운영 중 감시 기준이 변경됨"),
        ("evidence", "그사이 사진 관련 설정이 변경됨"),
        ("language", "그사이 이 양식의 언어가 변경됨"),
    ],
)
def test_settings_that_were_changed_are_told(desk, monkeypatch, group, korean):
    assert group in JUDGING
    void = desk().void(monkeypatch, **{group: "now"})
    english, korean_said = said(void, void_in_words)
    assert korean_said == korean
    assert english.endswith(" changed meanwhile")


def test_every_group_that_judges_has_its_words(desk, monkeypatch):
    void = desk().void(monkeypatch, **dict.fromkeys(JUDGING, "now"))
    assert void_in_words(void, KO).count("변경됨") == len(JUDGING)


def test_several_changes_are_told_each_in_its_words(desk, monkeypatch):
    mine = desk()
    mine.rule = ApprovalRule(four_eyes=True)
    mine.registry.set_version_tag(NAME, 2, FILE, "f" * 64)
    mine.registry.set_version_tag(NAME, 2, "guardianflow.scenario_digest", "f" * 64)
    void = mine.void(monkeypatch, gate="now")
    assert said(void, void_in_words) == (
        "the rules for approvals were changed meanwhile; the limits of the automatic check were "
        "changed meanwhile; its file model; the second.bin was replaced meanwhile; the record "
        "of its origin was changed meanwhile",
        "그사이 승인 규칙이 변경됨; 그사이 자동 점검 기준이 변경됨; 그사이 버전의 파일이 "
        "바뀜(model; the second.bin); 그사이 버전의 출처 기록이 변경됨",
    )
    # The book keeps a thousand characters: the last part may be cut, and is said as it stands.
    cut = void_in_words(void[: void.index(" says it was made")], KO)
    assert cut.endswith(f"승인을 그대로 적용할 수 없음(기록: the scenario that {NAME} version 2)")
    assert cut.startswith("그사이 승인 규칙이 변경됨; ")


def test_a_version_that_was_deleted_is_told(desk, monkeypatch):
    mine = desk()
    mine.registry.gone = True
    told = ("version 2 was deleted meanwhile", "그사이 2번 버전이 삭제됨")
    assert said(mine.void(monkeypatch), void_in_words) == told


def test_a_record_that_was_changed_or_is_gone_is_told(desk, monkeypatch):
    def void(read):
        mine = desk()
        mine.question.ask(lambda: mine.proposal)
        monkeypatch.setattr(question, "read_record", read)
        with pytest.raises(ApprovalVoid) as error:
            mine.question.ask(lambda: mine.proposal)
        return said(error.value.message, void_in_words)

    def gone(*_):
        raise ArtifactMissing("the run (it was purged) is gone", remedy="")

    assert void(gone)[1] == "승인 요청 기록을 더 이상 읽을 수 없음"
    edited = desk().proposal.model_copy(update={"headline": "all is fine"})
    assert void(lambda *_: edited)[1] == "승인 요청 기록이 변경됨"


def test_another_champion_other_files_and_another_release_are_told():
    def void(error):
        return said(error.message, void_in_words)

    assert void(ChampionChanged(NAME, 1, 2)) == (
        "version 2 went into use meanwhile",
        "그사이 2번 버전이 적용됨",
    )
    assert void(ChampionChanged(NAME, 1, None))[1] == "그사이 사용 중인 버전이 없어짐"
    assert void(ReleaseChanged(NAME, {NAME: (None, 2)}, {NAME: (1, 2)})) == (
        "the versions that would go into use now are not those that were shown",
        "지금 적용될 버전이 승인 요청 당시와 다름",
    )
    of_version_0_1 = (
        f"The release of {NAME} changed since it was proposed: approved was {NAME} from version "
        f"none to 2, but now {NAME} from version 1 to 2 would move. Nothing was changed."
    )
    assert void_in_words(of_version_0_1, KO) == "지금 적용될 버전이 승인 요청 당시와 다름"
    with pytest.raises(ArtifactMissing) as bare:
        registered_files(SimpleNamespace(name=NAME, version=2, tags={}))
    english, korean = void(bare.value)
    assert english.startswith("the files of the version cannot be used: ")
    assert korean.startswith("버전의 파일을 사용할 수 없음(기록: ")


def test_a_sentence_that_nobody_knows_is_said_as_it_was_recorded():
    mice = "version 7 was eaten by mice."
    assert recorded_in_words(mice, KO) == mice
    # That it does not hold is Korean all the same.
    assert said(mice, void_in_words) == (
        "version 7 was eaten by mice",
        "승인을 그대로 적용할 수 없음(기록: version 7 was eaten by mice)",
    )


@pytest.mark.parametrize(
    ("who", "identity"),
    [
        ("Kim", Identity.DECLARED),
        ("QA: Kim", Identity.CODE),
        ("kim@laptop (CLI)", Identity.ACCOUNT),
    ],
)
def test_an_earlier_rejection_keeps_who_and_why(desk, who, identity):
    mine, why = desk(), "masks (declared): too few; now: none"
    no = Answer(decision=Choice.REJECT, approver=who, reason=f"{why}.", identity=identity)
    decide(mine.registry, mine.proposal, [no], token="t")
    plan = SimpleNamespace(model_name=NAME, version=2, moves=mine.proposal.moves)
    [recorded] = rejections(mine.registry, plan, "new data")
    assert said(recorded) == (
        f"{who} rejected this version before: {why}.",
        f"이전에 {who} 님이 이 버전을 반려했습니다(사유: {why}).",
    )


def test_a_rejection_of_before_names_were_proven_is_told():
    recorded = f"{NAME} version 2 was rejected by Kim: masks: too few; now: new data"
    assert recorded_in_words(recorded, EN) == "Kim rejected this version before: masks: too few."


@pytest.fixture
def ended(monkeypatch):
    """How a promotion of a Korean floor ends: its state, what that says, and what is recorded."""
    kept = {}
    monkeypatch.setattr(promotion, "note", lambda said, label: kept.update({label: said}))
    monkeypatch.setattr(promotion, "get_run_logger", lambda: logging.getLogger("a test"))

    def end(standing, time=None):
        asked = proposal(language=KO, policy=CODES, time=time or datetime.now(UTC))
        opened = promotion.Round(1, asked, SimpleNamespace(decision=None, **standing))
        monkeypatch.setattr(promotion, "void_rounds", list)
        monkeypatch.setattr(promotion, "open_round", lambda *_, **__: opened)
        state = promotion.promote.fn(NAME, 2)
        told = FlowRun(flow_id=uuid.uuid4(), state=state, labels=kept)
        # Events and tags are made of it.
        return state.name, state.message, describe_run(told, "http://prefect").message

    return end


def test_wrong_codes_end_it_in_the_language_of_the_floor(ended):
    complaint = "the one-time code is wrong or too old"
    assert ended({"exhausted": True, "complaint": complaint}) == (
        "Void",
        "일회용 코드가 5회 틀려 이 요청은 종료되었습니다(일회용 코드가 틀렸거나 유효 시간이 지남).",
        f"5 one-time codes were wrong: {complaint}.",
    )


def test_answers_that_never_hold_end_it_in_the_language_of_the_floor(ended, monkeypatch):
    def void(*_):
        raise ApprovalVoid("the approval policy was changed")

    monkeypatch.setattr(promotion, "settle", void)
    assert ended({}) == (
        "Void",
        "승인을 5회 요청했으나 답변이 모두 무효가 되어 종료되었습니다. 마지막 사유: 그사이 승인 "
        "규칙이 변경됨.",
        "Asked 5 times, and the last time void: the approval policy was changed",
    )


@pytest.mark.parametrize(
    ("days", "korean", "english"),
    [
        (-30, "답변 기한이 ", "was to be given until"),
        (30, "시계가 맞지 않아 ", "a clock was wrong"),
    ],
)
def test_an_answer_at_another_time_ends_it_in_the_language_of_the_floor(
    ended, days, korean, english
):
    asked = datetime.now(UTC) + timedelta(days=days)
    name, told, recorded = ended({"exhausted": False, "complaint": ""}, asked)
    assert name == "Expired"
    assert told.startswith(korean)
    assert told.endswith("변경된 것은 없으며, 요청자가 다시 요청할 수 있습니다.")
    assert english in recorded


def test_what_nobody_recorded_of_an_end_is_what_the_state_says():
    run = FlowRun(flow_id=uuid.uuid4(), state=Failed(name="Void", message="Asked 5 times."))
    assert describe_run(run, "http://prefect").message == "Asked 5 times."


@pytest.mark.parametrize(
    ("recorded", "korean"),
    [
        ("Kim is none of the approvers: Lee, Park", "Kim 님은 승인자가 아님, 승인자: Lee, Park"),
        (
            "Kim asked for the promotion, and somebody else has to approve it",
            "Kim 님은 요청자이므로 다른 사람의 승인이 필요함",
        ),
        (
            "Kim has approved already, and another person is needed",
            "Kim 님은 이미 승인했으므로 다른 사람의 승인이 필요함",
        ),
        ("the one-time code is wrong or too old", "일회용 코드가 틀렸거나 유효 시간이 지남"),
        ("the gate settings of scenario ppe v3 were changed", "그사이 자동 점검 기준이 변경됨"),
        ("a/b/c/d version 2 was deleted", "그사이 2번 버전이 삭제됨"),
        (
            "the file model.bin of a/b/c/d version 2 is another one now (sha256 0a, now absent)",
            "그사이 버전의 파일이 바뀜(model.bin)",
        ),
        (
            "The record of what was asked (MLflow run 0af3) was changed.",
            "승인 요청 기록이 변경됨",
        ),
        (
            "The approval of a/b/c/d version 2 does not hold: the approval policy was changed; "
            "a/b/c/d version 2 was deleted. Nothing was changed.",
            "그사이 승인 규칙이 변경됨; 그사이 2번 버전이 삭제됨",
        ),
    ],
)
def test_what_version_0_1_0_recorded_is_told_as_ever(recorded, korean):
    assert void_in_words(recorded, KO) == korean
