from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from guardianflow.names import ModelName
from guardianflow.promotion.approval.policy import (
    DEFAULT_RULE,
    Answer,
    ApprovalRule,
    Choice,
    Identity,
    Proof,
    actor_of,
    decision_of,
    expires_at,
    may_override,
    objection,
    reason_of,
    rule_for,
)

NAME = ModelName.parse("donghwa-entec/busan-plant1/welding/ppe")
TWO = ApprovalRule(approvals_needed=2)


def answer(approver="Kim Minji", decision=Choice.APPROVE, identity=Identity.DECLARED, reason="ok!"):
    return Answer(decision=decision, approver=approver, reason=reason, identity=identity)


def rejection(approver="Kim Minji"):
    return answer(approver, Choice.REJECT)


def test_without_a_rule_that_fits_one_declared_name_is_enough():
    assert rule_for([ApprovalRule(models="hanbit/*", approvals_needed=2)], NAME) == DEFAULT_RULE
    assert not DEFAULT_RULE.asks_for_more_than_a_name
    assert decision_of(DEFAULT_RULE, "lee", [answer()]) is Choice.APPROVE
    assert DEFAULT_RULE.lasts == timedelta(days=7)


def test_the_first_rule_that_fits_counts_and_a_variant_has_that_of_its_base():
    strict = ApprovalRule(models="*/busan-plant1/*", four_eyes=True)
    rules = [strict, ApprovalRule(models="donghwa-entec/*", approvals_needed=2)]
    variant = ModelName.parse(f"{NAME}__openvino_int8")
    assert rule_for(rules, NAME) is rule_for(rules, variant) is strict
    # A pattern that ends like the base does not fit its variant alone.
    only_base = [ApprovalRule(models=NAME.public, four_eyes=True)]
    assert rule_for(only_base, variant) is only_base[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"approvals_needed": 3},
        {"approvals_needed": 0},
        {"approvals_needed": 2, "approvers": ("Kim",)},
        {"approvers": ("Kim", "KIM ")},
        {"approvers": ("Kim", "  ")},
        {"proof": "password"},
        {"expires_after_days": 0},
        {"expires_after_days": 31},
        {"aprovers": ("Kim",)},
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(settings):
    with pytest.raises(ValidationError):
        ApprovalRule(**settings)


@pytest.mark.parametrize(
    "settings",
    [{"approvers": ("Kim",)}, {"four_eyes": True}, {"approvals_needed": 2}, {"proof": "totp"}],
)
def test_whatever_is_stricter_asks_for_more_than_a_name_and_has_another_digest(settings):
    rule = ApprovalRule(**settings)
    assert rule.asks_for_more_than_a_name
    assert rule.digest != DEFAULT_RULE.digest
    # How a rule is found is no part of what was approved under it.
    assert rule.digest == rule.model_copy(update={"models": "a/*"}).digest


def test_a_shorter_time_is_another_policy_but_no_more_than_a_name():
    rule = ApprovalRule(expires_after_days=1)
    assert not rule.asks_for_more_than_a_name
    assert rule.digest != DEFAULT_RULE.digest
    asked = datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert expires_at(rule, asked) == datetime(2026, 12, 1, 12, tzinfo=UTC)


def test_only_the_named_may_answer_whatever_the_spelling():
    rule = ApprovalRule(approvers=("Kim Minji", "이준"))
    assert objection(rule, "lee", [], answer(" kim  MINJI")) == ""
    assert objection(rule, "lee", [], answer("이준")) == ""
    assert "none of the approvers" in objection(rule, "lee", [], answer("Kim"))
    assert "none of the approvers" in objection(rule, "lee", [], rejection("Park"))


@pytest.mark.parametrize(
    ("who", "may"),
    [
        ("Park Jun", True),
        ("park  jun", True),
        ("kim@line3", True),
        ("kim@line3 (CLI)", True),
        ("kim", False),
        ("kim@laptop (CLI)", False),
        ("Park", False),
        ("", False),
    ],
)
def test_only_the_named_override_the_gate_by_their_full_name(who, may):
    assert may_override(ApprovalRule(overriders=("Park Jun", "kim@line3")), who) is may
    assert may_override(ApprovalRule(), who)


def test_who_may_override_is_part_of_the_policy_and_asks_approvers_for_no_more():
    rule = ApprovalRule(overriders=("Park Jun",))
    assert rule.digest != ApprovalRule().digest
    assert not rule.asks_for_more_than_a_name
    for names in (("Park", " park "), ("",)):
        with pytest.raises(ValidationError, match="an overrider is named twice, or not at all"):
            ApprovalRule(overriders=names)


@pytest.mark.parametrize(
    ("requester", "approver"),
    [
        ("Kim", "kim"),
        ("kim@laptop (CLI)", "Kim"),
        ("kim@laptop (CLI)", "kim@laptop"),
        ("Kim", "Ｋｉｍ"),
    ],
)
def test_who_asked_may_not_approve_but_may_take_it_back(requester, approver):
    rule = ApprovalRule(four_eyes=True)
    assert "somebody else" in objection(rule, requester, [], answer(approver))
    assert objection(rule, requester, [], rejection(approver)) == ""
    assert objection(DEFAULT_RULE, requester, [], answer(approver)) == ""
    assert objection(rule, requester, [], answer("Park")) == ""


def test_two_approvals_come_from_two_people():
    assert decision_of(TWO, "lee", [answer("Kim")]) is None
    assert decision_of(TWO, "lee", [answer("Kim"), answer("KIM")]) is None
    assert decision_of(TWO, "lee", [answer("Kim"), answer("Park")]) is Choice.APPROVE
    assert "approved already" in objection(TWO, "lee", [answer("Kim")], answer("kim"))


def test_one_rejection_is_enough_also_by_who_approved_before():
    assert decision_of(TWO, "lee", [answer("Kim"), rejection("Kim")]) is Choice.REJECT
    assert decision_of(TWO, "lee", [rejection("Park")]) is Choice.REJECT


def test_a_declared_name_is_no_proof():
    rule = ApprovalRule(proof=Proof.TOTP)
    assert decision_of(rule, "lee", [answer()]) is None
    assert decision_of(rule, "lee", [rejection()]) is None
    assert decision_of(rule, "lee", [answer(identity=Identity.ACCOUNT)]) is None
    assert decision_of(rule, "lee", [answer(identity=Identity.CODE)]) is Choice.APPROVE


def test_the_ledger_says_how_each_is_known():
    answers = [answer("Kim Minji"), answer("Lee Jun", identity=Identity.CODE)]
    assert actor_of(answers) == "Kim Minji (declared), Lee Jun (proven by one-time code)"
    assert actor_of([answer("kim@laptop (CLI)", identity=Identity.ACCOUNT)]) == "kim@laptop (CLI)"
    assert reason_of(answers[:1]) == "ok!"
    assert reason_of(answers) == "Kim Minji: ok!; Lee Jun: ok!"


def test_what_goes_into_the_ledger_fits_however_long_it_was():
    answers = [answer("k" * 100, reason="r" * 500), answer("l" * 100, reason="s" * 500)]
    assert len(actor_of(answers)) <= 1000
    assert len(reason_of(answers)) <= 1000
    assert "l" * 100 in reason_of(answers)


def test_an_answer_without_a_choice_is_none_and_its_error_repeats_nothing():
    with pytest.raises(ValidationError) as refused:
        Answer.model_validate({"decision": "123456", "approver": "Kim", "reason": "fine"})
    assert "123456" not in str(refused.value)
