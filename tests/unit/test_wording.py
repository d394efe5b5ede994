import string

import pytest

from guardianflow.gate import Rule
from guardianflow.wording import TEXTS, Language, say


def placeholders(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_say_the_same_with_the_same_values(key):
    english, korean = TEXTS[key]
    # A text may leave out what its language does not need; it must never need what is not given.
    extra = {"needs.until": {"local"}, "gate.reason": {"rule", "measured", "limit"}}
    assert placeholders(korean) - extra.get(key, set()) == placeholders(english)
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
    assert {key.removeprefix("rule.") for key in TEXTS if key.startswith("rule.")} == set(Rule)


def bare(text):
    return "".join(part for part, *_ in string.Formatter().parse(text))


def test_a_text_is_said_in_its_language():
    assert say(Language.EN, "asks.version", version=7) == "version 7"
    assert say(Language.KO, "asks.version", version=7) == "버전 7"
