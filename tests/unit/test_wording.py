import string

import pytest

from guardianflow.evaluation.gate import GateRule
from guardianflow.wording.language import TEXTS, Language, say


def placeholders(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_say_the_same_with_the_same_values(key):
    english, korean = TEXTS[key]
    # A text may leave out what its language does not need; it must never need what is not given.
    extra = {
        "until": {"local", "utc"},
        "gate.reason": {"model", "rule", "why", "measured", "limit", "message"},
        "gate.reason.recorded": {"model", "rule", "why"},
        "recorded.stays": {"age", "more"},
        "recorded.apart": {"more"},
        "recorded.interrupted": {"when"},
    }
    more = extra.get(key, set())
    assert placeholders(korean) - more == placeholders(english) - more
    assert english.strip()
    assert korean.strip()


@pytest.mark.parametrize("key", TEXTS)
def test_structure_is_the_same_in_both_languages(key):
    english, korean = TEXTS[key]
    assert english.count("**") % 2 == korean.count("**") % 2 == 0
    assert english.count("`") == korean.count("`")
    assert english.count("](") == korean.count("](")


def test_korean_is_korean():
    same = {"figure.map50", "figure.map50_95"}
    for key, text in TEXTS.items():
        hangul = any("가" <= sign <= "힣" for sign in text.ko)
        assert hangul or key in same or not any(sign.isalpha() for sign in bare(text.ko)), key
        assert not any("가" <= sign <= "힣" for sign in text.en), key


def test_every_rule_of_the_gate_has_a_name_in_both():
    assert {key.removeprefix("rule.") for key in TEXTS if key.startswith("rule.")} == set(GateRule)


def bare(text):
    return "".join(part for part, *_ in string.Formatter().parse(text))


def test_a_text_is_said_in_its_language():
    assert say(Language.EN, "open.better", changes=7) == "Better: 7."
    assert say(Language.KO, "open.better", changes=7) == "좋아짐: 7."


def test_every_rule_says_in_both_why_it_does_not_say_yes():
    for rule in GateRule:
        if rule in (GateRule.MEASURED, GateRule.IMAGES):
            # They never fail.
            assert f"why.{rule}" in TEXTS
            continue
        # What is lost and what may be lost have words of their own.
        for outcome in ("FAILED", "INCONCLUSIVE"):
            assert f"why.{rule}.{outcome}" in TEXTS, (rule, outcome)
