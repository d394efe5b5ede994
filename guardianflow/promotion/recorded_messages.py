"""Says in the language of the floor what was recorded in English about earlier answers.

    one sentence -> its words
    "The approval of ... does not hold: one; another. Nothing was changed." -> those of each
    a reason that nobody here knows -> a general sentence, and in brackets what was recorded

The book, tags and the proposal keep sentences, which others read, too. Here stands how they are
recognised. `test_recorded.py` has every sentence written by the code that writes it.
"""

import re
from typing import Final

from guardianflow.wording.language import Language, say

# How a name is known ends it: it may hold a colon itself, and so may the reason.
_KNOWN: Final = tuple(
    (key, re.compile(pattern, re.DOTALL))
    for key, pattern in (
        (
            "recorded.rejected",
            r"\S+ version \d+ was rejected by (?P<who>.+?)"
            r"(?: \((?:declared|proven by one-time code)\)|(?<= \(CLI\))): (?P<why>.+); now: .*",
        ),
        (
            "recorded.rejected",
            r"\S+ version \d+ was rejected by (?P<who>.+?): (?P<why>.+); now: .*",
        ),
        ("recorded.approver", r"(?P<who>.+?) is none of the approvers: (?P<names>.+)"),
        ("recorded.requester", r"(?P<who>.+) asked for the promotion, and somebody else has to .*"),
        ("recorded.again", r"(?P<who>.+) has approved already, and another person is needed"),
        ("recorded.code", r"the one-time code is wrong or too old"),
        ("recorded.spent", r"the one-time code was used before; wait for the next one"),
        ("recorded.name", r"the name is too short"),
        ("recorded.reason", r"the reason is too short"),
        ("recorded.worker", r"this worker cannot check codes: (?P<why>.+)"),
        (
            "recorded.champion",
            r"@champion of \S+ is version (?P<version>\d+), not \w+ as the request expected; "
            r"nothing was changed\.?",
        ),
        (
            "recorded.champion.none",
            r"@champion of \S+ is version none, not \w+ as the request expected; nothing was "
            r"changed\.?",
        ),
        ("recorded.policy", r"the approval policy was changed"),
        ("recorded.gate", r"the gate settings of scenario .+ were changed"),
        ("recorded.health", r"the health settings of scenario .+ were changed"),
        ("recorded.evidence", r"the evidence settings of scenario .+ were changed"),
        ("recorded.language", r"the language settings of scenario .+ were changed"),
        ("recorded.deleted", r"\S+ version (?P<version>\d+) was deleted"),
        ("recorded.file", r"the file (?P<file>.+) of \S+ version \d+ is another one now \(.+\)"),
        ("recorded.scenario", r"the scenario that \S+ version \d+ says it was .+ another one now"),
        ("recorded.files", r"The files of \S+ version \d+ cannot be used: (?P<why>.+?)\.?"),
        (
            "recorded.release",
            r"The release of \S+ changed since it was proposed: .+ would move\. Nothing was "
            r"changed\.",
        ),
        ("recorded.unreadable", r"What was asked cannot be read any more \(.+\)"),
        ("recorded.record", r"The record of what was asked \(MLflow run \w+\) was changed\."),
    )
)
# The book keeps the first thousand characters.
_VOID: Final = re.compile(
    r"The approval of \S+ version \d+ does not hold: (?P<parts>.+?)(?:\. Nothing was changed\.)?",
    re.DOTALL,
)
# Names of files may hold a semicolon.
_PART: Final = re.compile(
    r"; (?=the (?:approval policy was|\w+ settings of|file|scenario that) |"
    r"\S+ version \d+ was deleted)"
)


def recorded_in_words(recorded: str, language: Language) -> str:
    """A recorded sentence in plain words; one that is not known as it was recorded."""
    return _known(recorded, language) or recorded


def void_in_words(why: str, language: Language) -> str:
    """Why earlier answers do not hold, in plain words; what is not known follows in brackets."""
    found = _VOID.fullmatch(why)
    parts = _PART.split(found["parts"]) if found else [why]
    said = (
        _known(part, language) or say(language, "recorded.other", why=part.rstrip("."))
        for part in parts
    )
    # The base and its variant have files of the same names.
    return "; ".join(dict.fromkeys(said))


def _known(recorded: str, language: Language) -> str:
    """A sentence that is known in plain words; '' of any other."""
    for key, pattern in _KNOWN:
        if found := pattern.fullmatch(recorded):
            return say(language, key, **found.groupdict())
    return ""
