"""Texts for approvers in the language of their floor: English or Korean.

Records, events, tags, the ledger and logs are always in English. Model names, aliases and the
answers `approve` and `reject` are never translated: programs compare them.
"""

import re
from enum import StrEnum
from typing import assert_never

from guardianflow.wording.figure_phrases import FIGURE_PHRASES
from guardianflow.wording.phrases import PHRASES, Phrase

TEXTS: dict[str, Phrase] = PHRASES | FIGURE_PHRASES
_SECOND_STOP = re.compile(r"(?<=[?!？！])\.(?!\w)")


class Language(StrEnum):
    """The language of the approver's form and page."""

    EN = "en"
    KO = "ko"


def say(language: Language, key: str, **values: object) -> str:
    """Return a text of `TEXTS` with its values filled in."""
    phrase = TEXTS[key]
    match language:
        case Language.EN:
            text = phrase.en
        case Language.KO:
            text = phrase.ko
        case _:
            assert_never(language)
    return one_stop(text.format(**values))


def one_stop(text: str) -> str:
    """Remove our full stop after a typed text that already ends in `?` or `!`."""
    return _SECOND_STOP.sub("", text)


def say_if_known(language: Language, key: str, otherwise: str) -> str:
    """Return a text without placeholders, or `otherwise` if there is no such key."""
    return say(language, key) if key in TEXTS else otherwise
