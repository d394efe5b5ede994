"""The line that everything begins with, and what a promotion changes for the floor, in words.

"Clearly" is said where the whole interval of the paired difference is on one side of nought.
"""

from collections.abc import Sequence

from guardianflow.evidence.numbers import ALARMS, KEY_MEASURES, MISSED, Span, rounded
from guardianflow.gate import GateReport, Subject
from guardianflow.markdown import plain
from guardianflow.wording import Language, say


def deciding(subjects: Sequence[Subject]) -> Subject | None:
    """The subject whose figures matter most; None where nothing could be measured.

    It is a variant where there is one: that is what the edge boxes run.
    """
    measured = [subject for subject in subjects if subject.candidate]
    if not measured:
        return None
    return next((s for s in reversed(measured) if "__" in s.model_name), measured[0])


def headline(
    subjects: Sequence[Subject], gate: GateReport, language: Language = Language.EN
) -> str:
    """The key figures of what the floor would run, in one line."""
    outcome = say(language, f"outcome.{gate.outcome}")
    subject = deciding(subjects)
    if subject is None or subject.candidate is None:
        return say(language, "headline.unmeasured", outcome=outcome)
    new, old = subject.candidate, subject.champion
    words: list[str] = []
    for measure in KEY_MEASURES:
        values = [rounded(measure.of(one).value, measure.digits) for one in (old, new) if one]
        words.append(f"{say(language, measure.key)} {' → '.join(values)}")
    return say(
        language,
        "headline",
        outcome=outcome,
        flavour=subject.model_name.partition("__")[2] or "FP32",
        figures=", ".join(words),
    )


def floor_sentence(subject: Subject | None, language: Language) -> str:
    """What changes for the people on the floor."""
    if subject is None or subject.candidate is None:
        return say(language, "floor.unmeasured")
    new, old, paired = subject.candidate, subject.champion, subject.difference
    measures = {"missed": MISSED, "alarms": ALARMS}
    after = {key: rounded(m.of(new).value, m.digits) for key, m in measures.items()}
    if old is None:
        return say(language, "floor.first", **after)
    clauses = {
        key: say(
            language,
            f"floor.{key}.{_trend(m.change(paired) if paired else None)}",
            before=rounded(m.of(old).value, m.digits),
            after=after[key],
        )
        for key, m in measures.items()
    }
    return say(language, "floor", **clauses)


def worse_sentence(subject: Subject | None, language: Language) -> str:
    """Which classes are clearly found less often than now; '' for none."""
    paired = subject.difference if subject else None
    worse = [
        f"{plain(name)} ({Span.between(change).text(3, language, signed=True)})"
        for name, change in (paired.recall.items() if paired else ())
        if change.high < 0
    ]
    return say(language, "floor.worse", classes=", ".join(worse)) if worse else ""


def _trend(change: Span | None) -> str:
    """Whether it means more mistakes, fewer, or nobody can tell; plain without an interval."""
    if change is None or change.ends is None:
        return "plain"
    low, high = change.ends
    if high < 0:
        return "fewer"
    return "more" if low > 0 else "same"
