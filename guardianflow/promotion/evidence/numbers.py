"""Figures for people: rounded, per hundred, with the ends of their interval."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from guardianflow.vision.metrics.comparison import Difference, PairedComparison
from guardianflow.vision.metrics.evaluation import ClassFigures, Evaluation
from guardianflow.vision.metrics.intervals import Interval
from guardianflow.wording.language import Language, say


@dataclass(frozen=True)
class Span:
    """A figure with its interval; without one where none was measured."""

    value: float
    ends: tuple[float, float] | None = None

    @classmethod
    def of(cls, value: float, bounds: Interval | None) -> Self:
        """A figure of one version."""
        return cls(value, (bounds.low, bounds.high) if bounds else None)

    @classmethod
    def between(cls, change: Difference) -> Self:
        """A figure of one version less that of another."""
        return cls(change.value, (change.low, change.high))

    def scaled(self, factor: float, offset: float = 0.0) -> "Span":
        """Convert to another unit; a negative factor swaps the ends."""
        ends = [offset + factor * end for end in self.ends or ()]
        return Span(offset + factor * self.value, (min(ends), max(ends)) if ends else None)

    def text(self, digits: int, language: Language, *, signed: bool = False) -> str:
        """The figure, and its interval in brackets."""
        write = (lambda x: f"{x:+.{digits}f}") if signed else (lambda x: rounded(x, digits))
        if self.ends is None:
            return write(self.value)
        low, high = (write(end) for end in self.ends)
        return f"{write(self.value)} ({say(language, 'range', low=low, high=high)})"


@dataclass(frozen=True)
class Measure:
    """A figure of evaluations that people are shown, and the difference between two of it."""

    key: str
    digits: int
    of: Callable[[Evaluation], Span]
    change: Callable[[PairedComparison], Span | None]


def rounded(value: float, digits: int) -> str:
    """Round a figure; non-zero values are never shown as zero."""
    # Python rounds half to even, which may be zero.
    step = 10.0**-digits
    return f"<{step:.{digits}f}" if 0 < value <= step / 2 else f"{value:.{digits}f}"


def whole(value: float) -> str:
    """Round a count per hundred; non-zero values are never shown as zero."""
    return "<1" if 0 < value <= 0.5 else f"{value:.0f}"


def missed_per_100(evaluation: Evaluation) -> Span:
    """Objects of the evaluation set that were missed, per 100."""
    classes = evaluation.per_class.values()
    objects = sum(figures.objects for figures in classes)
    seen = sum(figures.recall * figures.objects for figures in classes)
    found = seen / objects if objects else 1.0
    return Span.of(found, evaluation.found_bounds).scaled(-100.0, 100.0)


def false_alarms_per_100(evaluation: Evaluation) -> Span:
    """Detections of what is not there, per 100 images."""
    return Span.of(evaluation.false_alarms_per_image, evaluation.false_alarms_bounds).scaled(100.0)


def recall_of(figures: ClassFigures) -> Span:
    """The share of the objects of a class that were found."""
    return Span.of(figures.recall, figures.recall_bounds)


MEASURES = (
    Measure(
        "figure.missed",
        1,
        missed_per_100,
        lambda d: Span.between(d.found).scaled(-100.0) if d.found else None,
    ),
    Measure(
        "figure.alarms",
        0,
        false_alarms_per_100,
        lambda d: Span.between(d.false_alarms_per_image).scaled(100.0),
    ),
    Measure(
        "figure.map50",
        3,
        lambda e: Span.of(e.map50, e.map50_bounds),
        lambda d: Span.between(d.map50),
    ),
    Measure(
        "figure.map50_95",
        3,
        lambda e: Span.of(e.map50_95, e.map50_95_bounds),
        lambda d: Span.between(d.map50_95),
    ),
)
