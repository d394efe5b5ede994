"""Judges a figure with its bounds against a limit: certainly within, certainly beyond, or open.

    floor      PASSED: low end >= floor      FAILED: high end < floor      else INCONCLUSIVE
    ceiling    PASSED: high end <= ceiling   FAILED: low end > ceiling     else INCONCLUSIVE

Where it is open, larger samples with the same figure are tried until one would decide; the report
says how many cases that takes. It is a guess, as the figure itself will move.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from guardianflow.evaluation.gate.report import GateOutcome
from guardianflow.vision.metrics.intervals import CONFIDENCE, Interval

_MOST = 100
"""Larger samples than this many times the present one are not tried."""
_SURE = f"with {CONFIDENCE:.0%}".replace("%", " %")


@dataclass(frozen=True)
class BoundedFigure:
    """A figure with the bounds of its true value."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, bounds: Interval | None) -> "BoundedFigure":
        """Make one from an evaluation; without bounds, the true value may be anything."""
        if bounds is None:
            return cls(value, -math.inf, math.inf)
        return cls(value, bounds.low, bounds.high)

    def narrowed(self, share: float) -> "BoundedFigure":
        """Return the figure with the distance of both bounds scaled by this share."""
        low, high = self.value - self.low, self.high - self.value
        return BoundedFigure(self.value, self.value - share * low, self.value + share * high)

    def joined(self, low: float, high: float) -> "BoundedFigure":
        """Return the figure with the wider of two bounds at each end."""
        return BoundedFigure(self.value, min(self.low, low), max(self.high, high))

    def text(self, form: str = ".3f") -> str:
        """Return the figure with its bounds, for people."""
        value, low, high = (format(x, form) for x in (self.value, self.low, self.high))
        return f"{value} ({low} to {high} {_SURE})" if math.isfinite(self.low) else value


@dataclass(frozen=True)
class LimitVerdict:
    """The outcome of a figure against a limit, and what is missing for a decision."""

    figure: BoundedFigure
    outcome: GateOutcome
    missing: str = ""


Guess = Callable[[int], BoundedFigure]
"""Returns the figure with its bounds, as if it came from so many cases."""


def against_floor(guess: Guess, count: int, unit: str, floor: float) -> LimitVerdict:
    """Judge a figure that must not be lower than a floor, and comes from `count` cases.

    `unit` says what the cases are, e.g. "images". For `count`, the guess is as it was measured.
    """
    return _judged(guess, count, unit, lambda figure: judge_floor(figure, floor))


def against_ceiling(guess: Guess, count: int, unit: str, ceiling: float) -> LimitVerdict:
    """Judge a figure that must not be higher than a ceiling; arguments as in `against_floor`."""

    def judge(figure: BoundedFigure) -> GateOutcome:
        return judge_floor(BoundedFigure(-figure.value, -figure.high, -figure.low), -ceiling)

    return _judged(guess, count, unit, judge)


def drawn(figure: BoundedFigure, count: int) -> Guess:
    """Guess bootstrap bounds: their width falls with the square root of the number of cases."""
    return lambda wanted: figure.narrowed(math.sqrt(count / wanted))


def _judged(
    guess: Guess, count: int, unit: str, judge: Callable[[BoundedFigure], GateOutcome]
) -> LimitVerdict:
    figure = guess(count)
    outcome = judge(figure)
    if outcome is not GateOutcome.INCONCLUSIVE:
        return LimitVerdict(figure, outcome)
    if not math.isfinite(figure.low):
        return LimitVerdict(figure, outcome, "how sure that is was not measured")
    wanted = count
    while wanted < _MOST * count:
        wanted = max(wanted + 1, round(wanted * 1.05))
        if judge(guess(wanted)) is not GateOutcome.INCONCLUSIVE:
            return LimitVerdict(
                figure, outcome, f"{count} {unit} decide too little; about {_rounded(wanted)} would"
            )
    return LimitVerdict(figure, outcome, f"it lies at the limit: more {unit} would hardly decide")


def judge_floor(figure: BoundedFigure, floor: float) -> GateOutcome:
    """Compare a figure and its bounds with a floor."""
    if figure.low >= floor:
        return GateOutcome.PASSED
    return GateOutcome.FAILED if figure.high < floor else GateOutcome.INCONCLUSIVE


def _rounded(number: int) -> int:
    """Round up to two digits; more would pretend to be exact."""
    step = 10 ** max(0, len(str(number)) - 2)
    return math.ceil(number / step) * step
