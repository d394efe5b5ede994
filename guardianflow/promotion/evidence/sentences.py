"""What a promotion changes for the people on the floor, in words and whole numbers of a hundred.

    worse for sure -> not certain -> better for sure         (one line each, the gravest first)

"For sure" means that the whole interval of the paired difference is on one side of zero, on as many
pictures as the gate wants, and against a champion that has not learned from them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from guardianflow.evaluation.gate import GateOutcome, GateReport, GateRule, Subject
from guardianflow.promotion.evidence.floor_words import class_word
from guardianflow.promotion.evidence.numbers import false_alarms_per_100, whole
from guardianflow.vision.metrics.comparison import Difference, PairedComparison
from guardianflow.vision.metrics.evaluation import Evaluation
from guardianflow.wording.language import Language, say

WORTH_A_WORD = 5.0
"""Per 100: a smaller difference that may be chance gets no line."""
_MOST = 3
# A share of objects times a hundred is not exact: 30 of 100 may be 30.000000000000004.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class FigureChange:
    """One figure of the floor, today and then.

    Attributes:
        name: The class that is found; '' for false alarms.
        before: Today: objects found of 100, or false alarms in 100 pictures.
        after: The same of the version that is asked about.
        worse: By how much it gets worse; negative where it gets better.
        sure: Whether that is beyond chance.
    """

    name: str
    before: float
    after: float
    worse: float
    sure: bool


@dataclass(frozen=True)
class Opening:
    """What everything begins with: the line that matters most, and what follows it."""

    first: str
    rest: tuple[str, ...] = ()


def deciding(subjects: Sequence[Subject]) -> Subject | None:
    """The subject that watches people; None where nothing could be measured.

    It is a variant where there is one: that is what the edge boxes run.
    """
    measured = [subject for subject in subjects if subject.candidate]
    if not measured:
        return None
    return next((s for s in reversed(measured) if "__" in s.model_name), measured[0])


def headline(
    subjects: Sequence[Subject], gate: GateReport, language: Language = Language.EN
) -> str:
    """What everything begins with, in one line, for lists and messages."""
    said = opening(subjects, gate, language)
    return " ".join((said.first, *said.rest))


def opening(subjects: Sequence[Subject], gate: GateReport, language: Language) -> Opening:
    """What gets worse, then what is not certain, then what gets better."""
    subject = deciding(subjects)
    if subject is None or subject.candidate is None:
        return Opening(say(language, "open.unmeasured"))
    lacking = _too_few(subject, gate)
    few = say(language, "open.few", **lacking) if lacking else ""
    if subject.champion is None or subject.difference is None:
        return _alone(subject, subject.candidate, few, language)
    found = changes(subject)
    if few:
        return Opening(few, (_line("open.on_them", found, language),) if found else ())
    worse = [one for one in found if one.sure and one.worse > 0]
    better = [one for one in found if one.sure and one.worse < 0]
    # Where something gets worse for sure, a gain that may be chance weighs nothing.
    least = WORTH_A_WORD if worse else -math.inf
    doubtful = [one for one in found if not one.sure and abs(one.worse) >= WORTH_A_WORD]
    doubtful = [one for one in doubtful if one.worse >= least]
    first = _line("open.worse", worse, language)
    if not worse:
        key = "open.no_worse" if better or doubtful else "open.same"
        first = say(language, key, images=subject.candidate.images)
    rest = [_line("open.doubtful", doubtful, language)] if doubtful else []
    if better:
        # What is counted is understood once it was said of a class.
        brief = any(one.name for one in worse)
        rest.append(_line("open.better", better[::-1], language, brief=brief))
    if not subject.champion_held_out:
        rest.append(say(language, "open.seen"))
    return Opening(first, tuple(rest))


def changes(subject: Subject) -> list[FigureChange]:
    """Every class that is found more or less often, and the false alarms; the worst first.

    A champion that has learned from the pictures looks better than it is: only a gain against it
    is sure.
    """
    new, old, paired = subject.candidate, subject.champion, subject.difference
    if new is None or old is None or paired is None:
        return []
    found = figure_changes(old, new, paired)
    if not subject.champion_held_out:
        found = [replace(one, sure=one.sure and one.worse < 0) for one in found]
    return found


def figure_changes(
    old: Evaluation, new: Evaluation, paired: PairedComparison
) -> list[FigureChange]:
    """Every class that one version finds more or less often than another; the worst first."""
    found = [
        _change(name, (100 * old.per_class[name].recall, 100 * figures.recall), by, -1)
        for name, figures in new.per_class.items()
        if name in old.per_class and (by := paired.recall.get(name))
    ]
    alarms = (false_alarms_per_100(old).value, false_alarms_per_100(new).value)
    found.append(_change("", alarms, paired.false_alarms_per_image, 1))
    return sorted((one for one in found if one.worse), key=lambda change: -change.worse)


def sure_changes(subject: Subject, gate: GateReport) -> set[str]:
    """The names of what changes beyond chance, '' for false alarms; on too few pictures none."""
    if _too_few(subject, gate):
        return set()
    return {one.name for one in changes(subject) if one.sure}


def level_sentence(subject: Subject | None, gate: GateReport, language: Language) -> str:
    """What is missed most today, or by a first version, and what its zone has set for that.

    Where another class is further beyond its limit, that one follows.
    """
    measured = (subject.champion or subject.candidate) if subject else None
    if subject is None or measured is None or not measured.per_class:
        return ""
    limits = {
        reason.label: 100 * reason.limit
        for reason in gate.reasons
        if reason.rule is GateRule.MISSES and reason.model_name == subject.model_name
        if reason.label and reason.limit is not None
    }
    missed = {name: 100 * (1 - found.recall) for name, found in measured.per_class.items()}
    over = {name: missed[name] - limit for name, limit in limits.items() if name in missed}
    over = {name: by for name, by in over.items() if by > _ROUNDING}
    most = max(missed, key=lambda name: (missed[name], over.get(name, 0.0)))
    key = "level.today" if subject.champion else "level.first"
    figure, allowed = _allowed(missed[most], limits.get(most), language)
    said = [say(language, key, name=class_word(most, language), missed=figure, allowed=allowed)]
    furthest = max(over, key=lambda name: over[name], default=most)
    if over.get(furthest, 0.0) > over.get(most, 0.0):
        # The box of a phone is short.
        figure, limit = apart(missed[furthest], limits[furthest])
        values = {"name": class_word(furthest, language), "missed": figure, "limit": limit}
        said.append(say(language, "level.furthest", **values))
    return " ".join(said)


def _allowed(missed: float, limit: float | None, language: Language) -> tuple[str, str]:
    """How many of 100 are missed, and how many may be, in words."""
    if limit is None:
        return whole(missed), say(language, "level.none")
    beyond = missed > limit + _ROUNDING
    figure, allowed = apart(missed, limit) if beyond else (whole(missed), whole(limit))
    return figure, say(language, "level.beyond" if beyond else "level.within", limit=allowed)


def _alone(subject: Subject, new: Evaluation, few: str, language: Language) -> Opening:
    """A version without anything to compare it with."""
    key = "open.first" if subject.champion_version is None else "open.alone"
    said = say(language, key)
    missed = sorted(
        ((100 * (1 - figures.recall), name) for name, figures in new.per_class.items()),
        reverse=True,
    )
    levels = [f"{class_word(name, language)} {whole(share)}" for share, name in missed[:_MOST]]
    if len(missed) > _MOST:
        # A class that is not named would seem not to be looked for.
        levels.append(say(language, "open.misses.rest"))
    alarms = whole(false_alarms_per_100(new).value)
    figures = say(language, "open.misses", levels=", ".join(levels) or "-", alarms=alarms)
    return Opening(few or said, (said, figures) if few else (figures,))


def _too_few(subject: Subject, gate: GateReport) -> dict[str, int]:
    """How many pictures there are and are wanted, where these are too few to prove anything."""
    mine = (GateRule.IMAGES, subject.model_name)
    for reason in gate.reasons:
        if (reason.rule, reason.model_name) == mine and reason.outcome is not GateOutcome.PASSED:
            return {"images": int(reason.measured or 0), "wanted": int(reason.limit or 0)}
    return {}


def _change(name: str, figures: tuple[float, float], by: Difference, sign: int) -> FigureChange:
    """One change; `sign` is 1 where more of it is worse."""
    low, high = sorted((sign * by.low, sign * by.high))
    before, after = figures
    return FigureChange(name, before, after, 100.0 * sign * by.value, sure=high < 0 or low > 0)


def apart(one: float, other: float) -> tuple[str, str]:
    """Two figures that differ, in whole numbers where these do, too."""
    first, second = whole(one), whole(other)
    return (first, second) if first != second else (f"{one:.1f}", f"{other:.1f}")


def _line(
    key: str, found: Sequence[FigureChange], language: Language, *, brief: bool = False
) -> str:
    said: list[str] = []
    for change in found[:_MOST]:
        before, after = apart(change.before, change.after)
        kind = "found.brief" if brief and change.name else "found" if change.name else "alarms"
        name = class_word(change.name, language)
        said.append(say(language, f"change.{kind}", name=name, before=before, after=after))
        brief = brief or bool(change.name)
    if len(found) > _MOST:
        said.append(say(language, "change.more", count=len(found) - _MOST))
    return say(language, key, changes="; ".join(said))
