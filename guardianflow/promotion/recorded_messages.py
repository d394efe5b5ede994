"""Sentences that are recorded in English, and the same in the language of the floor.

    recorded("policy") -> "the approval policy was changed" -> tag, log or proposal
    recorded_in_words(that, KO) -> "그사이 승인 규칙이 변경됨"

The approval log, tags and the proposal keep sentences, which others read, too. One template makes
a sentence and recognises it: its key and its values are in it. A sentence that no template knows
stays as it was recorded.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from guardianflow.wording.language import Language, say

# Words for people may change; what was recorded may not: older records have these sentences.
_TEMPLATES: Final = {
    "approver": "{who} is none of the approvers: {names}",
    "requester": "{who} asked for the promotion, and somebody else has to approve it",
    "again": "{who} has approved already, and another person is needed",
    "code": "the one-time code is wrong or too old",
    "spent": "the one-time code was used before; wait for the next one",
    "name": "the name is too short",
    "reason": "the reason is too short",
    "worker": "this worker cannot check codes: {why}",
    "policy": "the approval policy was changed",
    "gate": "the gate settings of scenario {scenario} were changed",
    "health": "the health settings of scenario {scenario} were changed",
    "evidence": "the evidence settings of scenario {scenario} were changed",
    "language": "the language settings of scenario {scenario} were changed",
    "deleted": "{model} version {version} was deleted",
    "file": "the file {file} of {model} version {version} is another one now (sha256 {before}, now "
    "{after})",
    "scenario": "the scenario that {model} version {version} says it was made from is another one "
    "now",
    "unreadable": "What was asked cannot be read any more ({why})",
    "record": "The record of what was asked (MLflow run {run}) was changed.",
    "rejected": "{model} version {version} was {rejection}; now: {now}",
    # Errors of the registry.
    "champion": "@champion of {model} is version {version}, not {expected} as the request "
    "expected; nothing was changed.",
    "champion.none": "@champion of {model} is version none, not {expected} as the request "
    "expected; nothing was changed.",
    "files": "The files of {model} version {version} cannot be used: {why}.",
    "release": "The release of {model} changed since it was proposed: {what} would move. Nothing "
    "was changed.",
    # Remarks of the rotation.
    "no_way_back": "{model} has no way back: version {version} has no earlier good champion until "
    "the next promotion.",
    "stays": "{model} stays at version {version}, made from version {source} of {base}: the floor "
    "still runs the {age} model until {command}{more}.",
    "apart": "{model} is not promoted with it and has no champion until {command}{more}.",
    "interrupted": "{what}; it was interrupted and is finished {when}.",
}
_FOR_ENGINEERS: Final = ("no_way_back", "stays", "apart", "interrupted")
_VOID: Final = "The approval of {model} version {version} does not hold: {parts}."
_UNCHANGED: Final = " Nothing was changed."
_PATTERNS: Final = {
    "model": r"\S+",
    "base": r"\S+",
    "version": r"\d+",
    "expected": r"\w+",
    "run": r"\w+",
    "age": "newer|older",
    "command": "`[^`]+`",
    "more": ".*",
    # It may say "now" itself.
    "rejection": ".+",
}
"""What a value may be; of all others anything."""
# How a name is known ends it: it may hold a colon itself, and so may the reason.
_REJECTED: Final = tuple(
    re.compile(rf"rejected by (?P<who>.+?){known}: (?P<why>.+)", re.DOTALL)
    for known in (r"(?: \((?:declared|proven by one-time code)\)|(?<= \(CLI\)))", "")
)
# Names of files may hold a semicolon.
_PART: Final = re.compile(
    r"; (?=the (?:approval policy was|\w+ settings of|file|scenario that) |"
    r"\S+ version \d+ was deleted)"
)


def recorded(key: str, **values: object) -> str:
    """The English sentence that is recorded; `recorded.<key>` is what people read of it."""
    return _TEMPLATES[key].format(**values)


def recorded_void(model: str, version: int, changed: Sequence[str]) -> str:
    """The sentence that an approval is void, with every reason."""
    return _VOID.format(model=model, version=version, parts="; ".join(changed)) + _UNCHANGED


def recorded_in_words(text: str, language: Language) -> str:
    """A recorded sentence in plain words; one that is not known as it was recorded."""
    return _in_words(text, language) or text


def void_in_words(why: str, language: Language) -> str:
    """Why earlier answers are void, in plain words; what is not known follows in brackets."""
    # The approval log keeps the first thousand characters: the end may be cut off.
    whole = _pattern(_VOID).fullmatch(why.removesuffix(_UNCHANGED))
    parts = _PART.split(whole["parts"]) if whole else [why]
    said = (
        _in_words(part, language) or say(language, "recorded.other", why=part.rstrip("."))
        for part in parts
    )
    # The base and its variant have files of the same names.
    return "; ".join(dict.fromkeys(said))


def is_recorded_as(warning: str, *keys: str) -> bool:
    """Whether a warning is the recorded sentence of one of these keys."""
    return any(_pattern(_TEMPLATES[key]).fullmatch(warning) for key in keys)


def is_for_engineers(warning: str) -> bool:
    """Whether a warning is of the rotation: alerts and the decision say in words what it means."""
    return is_recorded_as(warning, *_FOR_ENGINEERS)


def _in_words(text: str, language: Language) -> str:
    """A sentence that is known in plain words; '' of any other."""
    for key, template in _TEMPLATES.items():
        if found := _pattern(template).fullmatch(text):
            values = found.groupdict()
            if key == "rejected":
                matches = (pattern.fullmatch(values["rejection"]) for pattern in _REJECTED)
                values = next((match.groupdict() for match in matches if match), None)
            return say(language, f"recorded.{key}", **values) if values is not None else ""
    return ""


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """What recognises the sentences of a template; the last full stop may be missing."""
    parts = re.split(r"\{(\w+)\}", template.removesuffix("."))
    pattern = "".join(
        f"(?P<{part}>{_PATTERNS.get(part, '.+?')})" if number % 2 else re.escape(part)
        for number, part in enumerate(parts)
    )
    return re.compile(rf"{pattern}\.?", re.DOTALL)
