"""Recorded English sentences, each made by the code that records it, in the words of the floor."""

import pytest

from guardianflow.approval import Answer, ApprovalRule, Choice
from guardianflow.approval.policy import objection
from guardianflow.errors import ChampionChanged
from guardianflow.promotion.recorded import in_words
from guardianflow.wording import Language

EN, KO = Language.EN, Language.KO
KIM = Answer(decision=Choice.APPROVE, approver="Kim Minji", reason="saw the pictures")


def refused(requester="Park", earlier=(), **rule):
    return objection(ApprovalRule(**rule), requester, list(earlier), KIM)


SAID = {
    "another champion": (
        ChampionChanged("test/lab-a/bench/ppe", 1, 2).message,
        "version 2 went into use meanwhile",
        "그사이 2번 버전이 적용됨",
    ),
    "no approver": (
        refused(approvers=("Lee Jun",)),
        "Kim Minji is none of the approvers: Lee Jun",
        "Kim Minji 님은 승인자가 아님, 승인자: Lee Jun",
    ),
    "the requester": (
        refused("Kim Minji", four_eyes=True),
        "Kim Minji asked for it, so somebody else has to approve it",
        "Kim Minji 님은 요청자이므로 다른 사람의 승인이 필요함",
    ),
    "the same person again": (
        refused(earlier=[KIM], approvals_needed=2),
        "Kim Minji has approved already, and another person is needed",
        "Kim Minji 님은 이미 승인했으므로 다른 사람의 승인이 필요함",
    ),
}


@pytest.mark.parametrize("what", SAID)
def test_what_was_recorded_is_said_in_the_language_of_the_floor(what):
    recorded, english, korean = SAID[what]
    assert (in_words(recorded, EN), in_words(recorded, KO)) == (english, korean)


def test_a_sentence_that_nobody_knows_is_said_as_it_was_recorded():
    assert in_words("version 7 was eaten by mice", KO) == "version 7 was eaten by mice"


def test_an_earlier_rejection_keeps_who_and_why():
    recorded = "test/lab-a/bench/ppe version 2 was rejected by Kim: masks: too few; now: new data"
    assert in_words(recorded, EN) == "Kim rejected this version before: masks: too few."
    assert "Kim 님이 이 버전을 반려" in in_words(recorded, KO)
    # The proof of a name is for the record.
    assert in_words(recorded.replace("Kim", "Kim (declared)"), EN) == in_words(recorded, EN)
