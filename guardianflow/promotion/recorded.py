"""Says in the language of the floor what was recorded in English about earlier answers.

The book, tags and the proposal keep sentences, which others read, too. Here stands how they are
recognised; what nobody here knows is said as it was recorded. `test_recorded.py` has every
sentence written by the code that writes it.
"""

import re
from typing import Final

from guardianflow.wording import Language, say

_KNOWN: Final = {
    key: re.compile(pattern, re.DOTALL)
    for key, pattern in {
        "recorded.rejected": r"\S+ version \d+ was rejected by (?P<who>.+?)"
        r"(?: \((?:declared|proven by one-time code)\))?: (?P<why>.+?); now: .*",
        "recorded.champion": r"@champion of \S+ is version (?P<version>\d+), not \w+ as the "
        r"request expected; nothing was changed\.?",
        "recorded.policy": r"the approval policy was changed",
        "recorded.approver": r"(?P<who>.+?) is none of the approvers: (?P<names>.+)",
        "recorded.requester": r"(?P<who>.+) asked for the promotion, and somebody else has to .*",
        "recorded.again": r"(?P<who>.+) has approved already, and another person is needed",
        "recorded.code": r"the one-time code is wrong or too old",
        "recorded.spent": r"the one-time code was used before; wait for the next one",
    }.items()
}


def in_words(recorded: str, language: Language) -> str:
    """A recorded sentence in plain words; one that is not known as it was recorded."""
    for key, pattern in _KNOWN.items():
        if found := pattern.fullmatch(recorded):
            return say(language, key, **found.groupdict())
    return recorded
