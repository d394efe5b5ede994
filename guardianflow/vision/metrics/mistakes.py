"""Judges detections at the operating thresholds, box by box, with reasons in words.

    Seen, labels --judge_boxes--> SortedCases: true and false boxes, missed objects, with reasons

The reasons are for people who look at the crops or correct the labels: a "false" box is often a
missing label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from guardianflow.vision.data.sample import Sample
from guardianflow.vision.metrics.detections import Seen, limits
from guardianflow.vision.metrics.matching import collect_overlaps, iou_matrix, match_boxes

# Below this overlap a box is not related to an object.
_TOUCHES = 0.1


class Outcome(StrEnum):
    """The outcome for a box or an object."""

    TRUE = "true"
    MISSED = "missed"
    FALSE = "false"


class Flaw(StrEnum):
    """What is wrong with a false box, or why an object was missed."""

    NOTHING = "nothing"
    """No such object is labelled there; for a missed object: nothing was detected there."""
    MISPLACED = "misplaced"
    """The box does not fit the object."""
    DOUBLE = "double"
    """The object already has a box."""
    OTHER_CLASS = "other class"
    """The object has another class, or was taken for another class."""
    UNSURE = "unsure"
    """For a missed object: it was detected, but with too low a score."""


@dataclass(frozen=True, eq=False)
class Case:
    """One box that was shown, or one object that was not found.

    Attributes:
        outcome: Which of the three.
        image: Index of the image.
        box: x1, y1, x2, y2 in pixels of the image, shape (4,), float32.
        label: Class index of the box, or of the missed object.
        score: Of the box; for a missed object the best one below the threshold, or 0.
        why: The reason in words.
        flaw: The kind of mistake; None for a true box.
    """

    outcome: Outcome
    image: int
    box: NDArray[np.float32]
    label: int
    score: float
    why: str
    flaw: Flaw | None = None


@dataclass(frozen=True, eq=False)
class SortedCases:
    """All cases of a set of images, and the confusion matrix.

    Attributes:
        cases: The worst first within each outcome: the false box with the highest score, the
            largest object without any detection, the true box with the lowest score.
        confusion: Row: class of the object, the last for no object; column: class of the box, the
            last for no box. Shape (C + 1, C + 1), int64.
    """

    cases: tuple[Case, ...]
    confusion: NDArray[np.int64]

    def of(self, outcome: Outcome) -> list[Case]:
        """Return the cases with this outcome, the worst first."""
        return [case for case in self.cases if case.outcome is outcome]


def judge_boxes(seen: Seen, samples: Sequence[Sample], classes: Sequence[str]) -> SortedCases:
    """Compare shown boxes with the labels, box by box, at IoU 0.5."""
    judge = _Judge(seen, samples, classes)
    cases = [*judge.shown(), *judge.missed()]
    return SortedCases(tuple(sorted(cases, key=judge.badness)), judge.confusion())


class _Judge:
    def __init__(self, seen: Seen, samples: Sequence[Sample], classes: Sequence[str]) -> None:
        self.seen, self.samples, self.classes = seen, samples, classes
        layout = self.layout = collect_overlaps(seen.detections, samples)
        self.is_shown = layout.scores >= limits(seen.thresholds, layout.found.classes)
        self.met = match_boxes(layout)[:, 0]
        self.right = self.is_shown & (self.met >= 0)
        self.hit = np.zeros(len(layout.objects.images), dtype=bool)
        self.hit[self.met[self.right]] = True
        self.found_boxes = _stacked([entry.boxes for entry in seen.detections])
        self.object_boxes = _stacked([sample.boxes for sample in samples])
        # The remaining boxes may match objects of other classes, but not objects already found.
        self.wrong = self.is_shown & ~self.right
        rest = match_boxes(layout, ignored=self.hit, shown=self.wrong, any_class=True)[:, 0]
        # An index of -1 reads the appended element: no match.
        self.taken_for = np.where(np.append(self.hit, True)[rest], -1, rest)
        self.by_object = np.argsort(layout.pair_object, kind="stable")

    def shown(self) -> list[Case]:
        """True and false boxes."""
        found = self.layout.found
        cases: list[Case] = []
        for row in np.flatnonzero(self.is_shown).tolist():
            right = bool(self.right[row])
            flaw, why = (None, self._why_true(row)) if right else self._why_false(row)
            cases.append(
                Case(
                    outcome=Outcome.TRUE if right else Outcome.FALSE,
                    image=int(found.images[row]),
                    box=self.found_boxes[row],
                    label=int(found.classes[row]),
                    score=float(self.layout.scores[row]),
                    why=why,
                    flaw=flaw,
                )
            )
        return cases

    def missed(self) -> list[Case]:
        """Objects without a shown box."""
        objects = self.layout.objects
        cases: list[Case] = []
        for row in np.flatnonzero(~self.hit).tolist():
            score, flaw, why = self._why_missed(row)
            cases.append(
                Case(
                    outcome=Outcome.MISSED,
                    image=int(objects.images[row]),
                    box=self.object_boxes[row],
                    label=int(objects.classes[row]),
                    score=score,
                    why=why,
                    flaw=flaw,
                )
            )
        return cases

    def badness(self, case: Case) -> tuple[str, float, float]:
        """The sort key of the cases."""
        width, height = (case.box[2:] - case.box[:2]).tolist()
        share = width * height / (self.samples[case.image].size[0] ** 2)
        surest_first = case.outcome is Outcome.FALSE
        return case.outcome.value, -case.score if surest_first else case.score, -share

    def confusion(self) -> NDArray[np.int64]:
        """See `SortedCases.confusion`."""
        none = len(self.classes)
        found, objects = self.layout.found.classes, self.layout.objects.classes
        lost = ~self.hit
        lost[self.taken_for[self.wrong & (self.taken_for >= 0)]] = False
        truth = np.append(objects, none)[self.taken_for]
        rows = np.concatenate([found[self.right], truth[self.wrong], objects[lost]])
        columns = np.concatenate(
            [found[self.right], found[self.wrong], np.full(int(lost.sum()), none)]
        )
        cells = np.bincount(rows * (none + 1) + columns, minlength=(none + 1) ** 2)
        return cells.reshape(none + 1, none + 1).astype(np.int64)

    def _why_true(self, row: int) -> str:
        overlap = self._pairs_of_found(row)[int(self.met[row])]
        return f"IoU {overlap:.2f}"

    def _why_false(self, row: int) -> tuple[Flaw, str]:
        label, objects = int(self.layout.found.classes[row]), self.layout.objects
        pairs = self._pairs_of_found(row)
        if any(objects.classes[other] == label for other in pairs):
            return Flaw.DOUBLE, "a second box on the same object"
        sample = self.samples[int(self.layout.found.images[row])]
        same = sample.boxes[sample.classes == label]
        overlap = _best(self.found_boxes[row], same)
        if pairs and overlap < _TOUCHES:
            best = max(pairs, key=lambda other: pairs[other])
            return Flaw.OTHER_CLASS, f"there is a {self.classes[int(objects.classes[best])]}"
        if overlap >= _TOUCHES:
            return Flaw.MISPLACED, f"the box does not fit, IoU {overlap:.2f}"
        return Flaw.NOTHING, "no such object is labelled there"

    def _why_missed(self, row: int) -> tuple[float, Flaw, str]:
        layout = self.layout
        start, stop = np.searchsorted(layout.pair_object, [row, row + 1], sorter=self.by_object)
        near = layout.pair_found[self.by_object[start:stop]].tolist()
        label = int(layout.objects.classes[row])
        low = [i for i in near if layout.found.classes[i] == label and not self.is_shown[i]]
        other = [i for i in near if layout.found.classes[i] != label and self.is_shown[i]]
        score = max((float(layout.scores[i]) for i in low), default=0.0)
        if other:
            best = max(other, key=lambda i: layout.scores[i])
            name = self.classes[int(layout.found.classes[best])]
            return score, Flaw.OTHER_CLASS, f"taken for {name} {layout.scores[best]:.2f}"
        if low:
            limit = self.seen.thresholds[label]
            return score, Flaw.UNSURE, f"score {score:.2f}, shown from {limit:.2f}"
        overlap = _best(self.object_boxes[row], self._wrong_boxes(row, label))
        if overlap >= _TOUCHES:
            return score, Flaw.MISPLACED, f"the box does not fit, IoU {overlap:.2f}"
        return score, Flaw.NOTHING, "nothing was seen there"

    def _wrong_boxes(self, row: int, label: int) -> NDArray[np.float32]:
        """False boxes of a class in the image of an object."""
        found, image = self.layout.found, self.layout.objects.images[row]
        return self.found_boxes[self.wrong & (found.images == image) & (found.classes == label)]

    def _pairs_of_found(self, row: int) -> dict[int, float]:
        """Objects that a detection overlaps by at least one half, with the IoU."""
        start, stop = np.searchsorted(self.layout.pair_found, [row, row + 1])
        objects = self.layout.pair_object[start:stop].tolist()
        return dict(zip(objects, self.layout.overlaps[start:stop].tolist(), strict=True))


def _stacked(boxes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate([*boxes, np.zeros((0, 4), np.float32)])


def _best(box: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """The highest IoU with any of the others; 0 without any."""
    return float(iou_matrix(box[None], others).max()) if len(others) else 0.0
