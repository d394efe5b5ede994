"""Where two detectors disagree: objects that only one of them found, false alarms of only one.

    candidate, champion --judge_boxes--> cases of each --minus those of both--> by kind, worst first

Without a champion, the objects that the candidate misses.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from guardianflow.vision.data.sample import Sample
from guardianflow.vision.metrics.detections import Seen
from guardianflow.vision.metrics.matching import IOUS, iou_matrix
from guardianflow.vision.metrics.mistakes import Case, Outcome, judge_boxes

# IoU of the same label, up to rounding; two workers in a crowd overlap by far more than one half.
_SAME_LABEL = 0.999


class Disagreement(StrEnum):
    """The kinds of disagreement, the gravest first."""

    LOST = "lost"
    """An object that the champion found and the candidate misses."""
    GAINED = "gained"
    """An object that the champion missed and the candidate finds."""
    NEW_ALARM = "new-alarm"
    """A false alarm of only the candidate."""
    GONE_ALARM = "gone-alarm"
    """A false alarm of only the champion."""
    MISSED = "missed"
    """An object that the candidate misses, if there is no champion."""


def find_disagreements(
    candidate: Seen, champion: Seen | None, samples: Sequence[Sample], classes: Sequence[str]
) -> dict[Disagreement, list[Case]]:
    """Find the disagreements of each kind, the worst first, but one of each image before a second.

    Both detectors have seen the same images.
    """
    ours = judge_boxes(candidate, samples, classes)
    if champion is None:
        return {Disagreement.MISSED: _spread(ours.of(Outcome.MISSED))}
    theirs = judge_boxes(champion, samples, classes)
    missed = [judged.of(Outcome.MISSED) for judged in (ours, theirs)]
    alarms = [judged.of(Outcome.FALSE) for judged in (ours, theirs)]
    return {
        Disagreement.LOST: _spread(_only(missed[0], missed[1], _SAME_LABEL)),
        Disagreement.GAINED: _spread(_only(missed[1], missed[0], _SAME_LABEL)),
        Disagreement.NEW_ALARM: _spread(_only(alarms[0], alarms[1], IOUS[0])),
        Disagreement.GONE_ALARM: _spread(_only(alarms[1], alarms[0], IOUS[0])),
    }


def _only(cases: Iterable[Case], others: Iterable[Case], min_iou: float) -> list[Case]:
    """The cases without a counterpart among the others: same image and class, enough overlap."""
    near: dict[tuple[int, int], list[Case]] = {}
    for other in others:
        near.setdefault((other.image, other.label), []).append(other)
    return [
        case
        for case in cases
        if not any(
            iou_matrix(case.box[None], other.box[None])[0, 0] >= min_iou
            for other in near.get((case.image, case.label), ())
        )
    ]


def _spread(cases: Sequence[Case]) -> list[Case]:
    """Put one case of each image before a second one: those of one image are much alike."""
    seen: dict[int, int] = {}
    ranks: list[int] = []
    for case in cases:
        ranks.append(seen.get(case.image, 0))
        seen[case.image] = ranks[-1] + 1
    return [cases[index] for index in sorted(range(len(cases)), key=lambda i: ranks[i])]
