"""What the automatic check says, did look at and did not look at, in words for people."""

from collections.abc import Sequence

from guardianflow.evaluation.gate import GateOutcome, GateReason, GateReport, GateRule, Subject
from guardianflow.promotion.evidence.floor_words import class_word
from guardianflow.promotion.evidence.numbers import whole
from guardianflow.wording.language import TEXTS, Language, say

_LOOKS = {
    GateRule.FLOOR: "look.overall",
    GateRule.REGRESSION: "look.overall",
    GateRule.LATENCY: "look.speed",
    GateRule.DATA: "look.known",
    GateRule.WAY_BACK: "look.back",
}
_BY_CLASS = (GateRule.MISSES, GateRule.RECALL)
_MOST = 2


def check_sentence(
    gate: GateReport, subject: Subject | None, dark_images: int | None, language: Language
) -> str:
    """What the check says and what it did not look at: short, for the form."""
    few = any(
        reason.rule is GateRule.IMAGES
        and reason.outcome is gate.outcome is GateOutcome.INCONCLUSIVE
        for reason in _of(gate, subject)
    )
    if few:
        # Of too few pictures the first line has said why, and that nothing they show is certain.
        return say(language, "check.few")
    left = left_out(gate, subject, dark_images, language)
    said = say(
        language, f"check.{gate.outcome}", why="; ".join(objections(gate, subject, language))
    )
    return f"{said} {say(language, 'check.left', left=', '.join(left))}" if left else said


def looked_at(gate: GateReport, subject: Subject | None, language: Language) -> list[str]:
    """What the check did look at, of the version that watches people."""
    reasons = _of(gate, subject)
    found = [say(language, _LOOKS[r.rule]) for r in reasons if r.rule in _LOOKS]
    found += _classes(_judged(reasons), _unjudged(reasons, subject), language)
    if any(reason.rule is GateRule.FALSE_ALARMS for reason in reasons):
        found.append(say(language, "look.alarms"))
    return list(dict.fromkeys(found))


def left_out(
    gate: GateReport, subject: Subject | None, dark_images: int | None, language: Language
) -> list[str]:
    """What nobody has told the check to look at, and what the pictures do not show."""
    if subject is None or subject.candidate is None:
        return []
    reasons = _of(gate, subject)
    left = _classes(_unjudged(reasons, subject), _judged(reasons), language)
    if not any(reason.rule is GateRule.FALSE_ALARMS for reason in reasons):
        left.append(say(language, "look.alarms"))
    if dark_images == 0:
        left.append(say(language, "look.dark"))
    return left


def objections(
    gate: GateReport, subject: Subject | None, language: Language, most: int = _MOST
) -> list[str]:
    """Why the check does not say yes, what weighs most first."""
    mine = subject.model_name if subject else ""
    every = [r for r in gate.reasons if r.outcome is gate.outcome is not GateOutcome.PASSED]
    # The version that watches people leads; the others speak where it has nothing to say.
    own = [reason for reason in every if reason.model_name == mine]
    counted = own or every
    # Too few pictures make all else uncertain: that says it all.
    few = [r for r in counted if r.rule in (GateRule.IMAGES, GateRule.MEASURED)]
    # Where they are of another version than the figures, they say so.
    other = bool(mine) and not own
    said = [
        _of_another(r, language) if other else reason_against(r, language) for r in few or counted
    ]
    said = list(dict.fromkeys(said))
    if len(said) > most:
        return [*said[:most], say(language, "change.more", count=len(said) - most)]
    return said


def reason_against(reason: GateReason, language: Language) -> str:
    """Why one rule does not say yes."""
    measured, limit = abs(reason.measured or 0.0), abs(reason.limit or 0.0)
    # Counts as they are, shares and rates of a hundred.
    scale = 1.0 if reason.rule in (GateRule.IMAGES, GateRule.DATA) else 100.0
    key = f"why.{reason.rule}"
    if f"{key}.{reason.outcome}" in TEXTS:
        key = f"{key}.{reason.outcome}"
    return say(
        language,
        key,
        name=class_word(reason.label, language) or say(language, "look.a_class"),
        measured=whole(scale * measured),
        limit=whole(scale * limit),
    )


def _of_another(reason: GateReason, language: Language) -> str:
    key = "why.variant" if "__" in reason.model_name else "why.source"
    return say(language, key, why=reason_against(reason, language))


def _judged(reasons: Sequence[GateReason]) -> list[str]:
    """The classes that a rule was asked about; '' in a record that names none."""
    return list(dict.fromkeys(r.label for r in reasons if r.rule in _BY_CLASS))


def _unjudged(reasons: Sequence[GateReason], subject: Subject | None) -> list[str]:
    judged = _judged(reasons)
    classes = subject.candidate.per_class if subject and subject.candidate else ()
    return [] if "" in judged else [name for name in classes if name not in judged]


def _classes(these: Sequence[str], others: Sequence[str], language: Language) -> list[str]:
    """Some classes in words: by name where there are others."""
    if not these:
        return []
    if not others:
        return [say(language, "look.classes")]
    return [
        say(language, "look.some", names=", ".join(class_word(name, language) for name in these))
    ]


def _of(gate: GateReport, subject: Subject | None) -> Sequence[GateReason]:
    return [r for r in gate.reasons if subject is None or r.model_name == subject.model_name]
