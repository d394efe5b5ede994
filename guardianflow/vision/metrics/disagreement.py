"""Where two detectors disagree: what only one of them found, and false alarms of one alone.

    candidate, champion --judge--> cases of each --without what both have--> by kind, worst first

Without a champion it is what the candidate misses.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from guardianflow.vision.data.dataset import Sample
from guardianflow.vision.metrics.detections import Seen
from guardianflow.vision.metrics.matching import IOUS, iou_matrix
from guardianflow.vision.metrics.mistakes import Case, Outcome, judge_boxes

# The same label, but for rounding; two workers in a crowd overlap by far more than one half.
_SAME = 0.999


class Disagreement(StrEnum):
    """What one detector did and the other did not, the gravest first."""

    LOST = "lost"
    """An object that the champion found and the candidate misses."""
    GAINED = "gained"
    """An object that the champion missed and the candidate finds."""
    NEW_ALARM = "new-alarm"
    """A false alarm of the candidate alone."""
    GONE_ALARM = "gone-alarm"
    """A false alarm of the champion alone."""
    MISSED = "missed"
    """An object that the candidate misses, where there is no champion."""


def find_disagreements(
    candidate: Seen, champion: Seen | None, samples: Sequence[Sample], classes: Sequence[str]
) -> dict[Disagreement, list[Case]]:
    """What to look at, by kind; in each kind the worst first, and first one of each image.

    Args:
        candidate: What the one saw.
        champion: What the other saw on the same images; None where there is none.
        samples: The labelled images.
        classes: Class names in the order of their indices.
    """
    ours = judge_boxes(candidate, samples, classes)
    if champion is None:
        return {Disagreement.MISSED: _spread(ours.of(Outcome.MISSED))}
    theirs = judge_boxes(champion, samples, classes)
    missed = [judged.of(Outcome.MISSED) for judged in (ours, theirs)]
    alarms = [judged.of(Outcome.FALSE) for judged in (ours, theirs)]
    return {
        Disagreement.LOST: _spread(_only(missed[0], missed[1], _SAME)),
        Disagreement.GAINED: _spread(_only(missed[1], missed[0], _SAME)),
        Disagreement.NEW_ALARM: _spread(_only(alarms[0], alarms[1], IOUS[0])),
        Disagreement.GONE_ALARM: _spread(_only(alarms[1], alarms[0], IOUS[0])),
    }


def _only(cases: Iterable[Case], others: Iterable[Case], least: float) -> list[Case]:
    """The cases that the others do not have: same image, same class, `least` overlap or more."""
    near: dict[tuple[int, int], list[Case]] = {}
    for other in others:
        near.setdefault((other.image, other.label), []).append(other)
    return [
        case
        for case in cases
        if not any(
            iou_matrix(case.box[None], other.box[None])[0, 0] >= least
            for other in near.get((case.image, case.label), ())
        )
    ]


def _spread(cases: Sequence[Case]) -> list[Case]:
    """One of each image before the second of any: twenty workers of one frame tell one thing."""
    seen: dict[int, int] = {}
    ranks: list[int] = []
    for case in cases:
        ranks.append(seen.get(case.image, 0))
        seen[case.image] = ranks[-1] + 1
    return [cases[index] for index in sorted(range(len(cases)), key=lambda i: ranks[i])]
