"""A figure with its bounds against a limit: for sure within, for sure beyond, or undecided.

    floor      PASSED: low end >= floor      FAILED: high end < floor      else INCONCLUSIVE
    ceiling    PASSED: high end <= ceiling   FAILED: low end > ceiling     else INCONCLUSIVE

Where it is undecided, the same figure on a larger sample is tried until it would decide: that is
what is said to be missing. It is a guess, as the figure itself will move.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from guardianflow.evaluation.gate.report import GateOutcome
from guardianflow.vision.metrics.intervals import CONFIDENCE, Interval

_MOST = 100
"""Nobody collects more than so many times as much: the figure lies at the limit."""
_SURE = f"with {CONFIDENCE:.0%}".replace("%", " %")


@dataclass(frozen=True)
class BoundedFigure:
    """A figure with what it may be in truth."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, bounds: Interval | None) -> "BoundedFigure":
        """A figure of an evaluation; without bounds nothing but the figure is known."""
        if bounds is None:
            return cls(value, -math.inf, math.inf)
        return cls(value, bounds.low, bounds.high)

    def narrowed(self, share: float) -> "BoundedFigure":
        """The same figure with both ends at this share of their distance."""
        low, high = self.value - self.low, self.high - self.value
        return BoundedFigure(self.value, self.value - share * low, self.value + share * high)

    def joined(self, low: float, high: float) -> "BoundedFigure":
        """The same figure with the worse of two bounds at each end."""
        return BoundedFigure(self.value, min(self.low, low), max(self.high, high))

    def text(self, form: str = ".3f") -> str:
        """The figure with its ends, for people."""
        value, low, high = (format(x, form) for x in (self.value, self.low, self.high))
        return f"{value} ({low} to {high} {_SURE})" if math.isfinite(self.low) else value


@dataclass(frozen=True)
class LimitVerdict:
    """What a figure says against a limit, and what is missing where it says nothing."""

    figure: BoundedFigure
    outcome: GateOutcome
    missing: str = ""


Guess = Callable[[int], BoundedFigure]
"""The figure with its bounds if it had come from so many cases."""


def against_floor(guess: Guess, count: int, unit: str, floor: float) -> LimitVerdict:
    """Judge a figure that must not be lower.

    Args:
        guess: The figure on so many cases; on `count` it is what was measured.
        count: From how many it comes.
        unit: What they are, e.g. "images".
        floor: What it has to reach.
    """
    return _judged(guess, count, unit, lambda figure: _above(figure, floor))


def against_ceiling(guess: Guess, count: int, unit: str, ceiling: float) -> LimitVerdict:
    """Judge a figure that must not be higher; the arguments are those of `against_floor`."""
    return _judged(
        guess,
        count,
        unit,
        lambda figure: _above(BoundedFigure(-figure.value, -figure.high, -figure.low), -ceiling),
    )


def drawn(figure: BoundedFigure, count: int) -> Guess:
    """How bounds from drawing images anew go: their width falls with the root of the number."""
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


def _above(figure: BoundedFigure, floor: float) -> GateOutcome:
    if figure.low >= floor:
        return GateOutcome.PASSED
    return GateOutcome.FAILED if figure.high < floor else GateOutcome.INCONCLUSIVE


def _rounded(number: int) -> int:
    """Two digits, upwards: more would claim to know."""
    step = 10 ** max(0, len(str(number)) - 2)
    return math.ceil(number / step) * step
