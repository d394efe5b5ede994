"""The rules of health, pure: from the figures of a window and the windows before to a verdict.

faults of the camera ------------------------------> INCONCLUSIVE: no model is blamed
too few frames or objects --------------------------> INCONCLUSIVE
a figure beyond its limit, surely ------------------> this window fails
    as many failing windows in a row as it takes ---> FAILING
    else -------------------------------------------> INCONCLUSIVE
a figure beyond its limit, perhaps by chance -------> INCONCLUSIVE
else -----------------------------------------------> HEALTHY
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from pydantic import BaseModel, ConfigDict, Field

from guardianflow.scenario import HealthPolicy, HealthRule
from guardianflow.vision.metrics.camera import CameraFault, faults_in_words

_WORDS = {"map50": "mAP50", "map50_95": "mAP50-95"}


class Verdict(StrEnum):
    """What is said about a champion."""

    HEALTHY = "HEALTHY"
    FAILING = "FAILING"
    INCONCLUSIVE = "INCONCLUSIVE"


class WindowFigure(BaseModel):
    """One figure of a window; without bounds where they are unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(description="As measured.")
    low: float | None = Field(default=None, description="Lower confidence bound.")
    high: float | None = Field(default=None, description="Upper confidence bound.")


@dataclass(frozen=True)
class Judgement:
    """What one window says by itself."""

    verdict: Verdict
    reason: str
    """One sentence for people, without its full stop."""
    metric: str = ""
    """The figure that decided; '' where none did."""


@dataclass(frozen=True)
class PastWindow:
    """An earlier window of the same champion and camera."""

    fingerprint: str
    verdict: Verdict


def rules_of(policy: HealthPolicy) -> tuple[HealthRule, ...]:
    """All limits of a policy."""
    return (HealthRule(metric="map50", at_least=policy.min_map50), *policy.rules)


def judge_window(
    policy: HealthPolicy,
    rules: Iterable[HealthRule],
    figures: Mapping[str, WindowFigure],
    *,
    images: int,
    objects: int | None,
    faults: Sequence[CameraFault] = (),
) -> Judgement:
    """Judge one window by itself: its figures, by the name of the metric.

    `objects` counts the labelled ones in its frames; it is None where nobody labelled them.
    """
    if faults:
        return Judgement(Verdict.INCONCLUSIVE, f"camera: {faults_in_words(faults)}")
    if images < policy.min_images or (objects is not None and objects < policy.min_objects):
        counted = f"{images} frames" + ("" if objects is None else f" with {objects} objects")
        least = f"{policy.min_images}" + ("" if objects is None else f" and {policy.min_objects}")
        return Judgement(Verdict.INCONCLUSIVE, f"{counted} are fewer than {least}")
    answers = [_answer(rule, figures.get(rule.metric), images) for rule in rules]
    if not answers:
        return Judgement(Verdict.INCONCLUSIVE, "no rule of the policy asks about these figures")
    order = (Verdict.FAILING, Verdict.INCONCLUSIVE, Verdict.HEALTHY)
    return min(answers, key=lambda answer: order.index(answer.verdict))


def failing_in_a_row(fingerprint: str, past: Iterable[PastWindow]) -> int:
    """How many windows in a row failed: the current one, and those before it, the newest first.

    The same frames count once, and an INCONCLUSIVE window neither counts nor breaks the row.
    """
    seen = {fingerprint}
    for window in past:
        match window.verdict:
            case Verdict.HEALTHY:
                break
            case Verdict.FAILING:
                seen.add(window.fingerprint)
            case Verdict.INCONCLUSIVE:
                continue
            case _:
                assert_never(window.verdict)
    return len(seen)


def conclude(
    own: Judgement, policy: HealthPolicy, fingerprint: str, past: Iterable[PastWindow]
) -> tuple[Judgement, int]:
    """Judge a window together with those before it; also returns how many failed in a row."""
    if own.verdict is not Verdict.FAILING:
        return own, 0
    row = failing_in_a_row(fingerprint, past)
    if row >= policy.consecutive:
        several = f" ({row} windows in a row)" if policy.consecutive > 1 else ""
        return Judgement(own.verdict, own.reason + several, own.metric), row
    waiting = f"{own.reason}; {row} of {policy.consecutive} failing windows in a row"
    return Judgement(Verdict.INCONCLUSIVE, waiting, own.metric), row


def _answer(rule: HealthRule, figure: WindowFigure | None, images: int) -> Judgement:
    label = _WORDS.get(rule.metric, rule.metric)
    if figure is None:
        return Judgement(Verdict.INCONCLUSIVE, f"{label} was not reported", rule.metric)
    limit = rule.at_least if rule.at_least is not None else rule.at_most
    assert limit is not None
    floor = rule.at_least is not None
    beyond = figure.value < limit if floor else figure.value > limit
    edge = figure.high if floor else figure.low
    sure = edge is None or (edge < limit if floor else edge > limit)
    side = (
        ("below" if beyond else "at or above") if floor else ("above" if beyond else "at or below")
    )
    reason = f"{label} {figure.value:.3f} on {images} frames is {side} {limit:.3f}"
    if not beyond:
        return Judgement(Verdict.HEALTHY, reason, rule.metric)
    if sure:
        return Judgement(Verdict.FAILING, reason, rule.metric)
    chance = f"{reason}, perhaps by chance: it may be {'up to' if floor else 'down to'} {edge:.3f}"
    return Judgement(Verdict.INCONCLUSIVE, chance, rule.metric)
