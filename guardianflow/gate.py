"""The gate: rules with thresholds on what was measured; it judges, it measures nothing itself.

any reason FAILED -> FAILED;  else any INCONCLUSIVE -> INCONCLUSIVE;  else PASSED
"""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from guardianflow.measuring.evaluation import Evaluation
from guardianflow.scenario import GateSettings


class GateOutcome(StrEnum):
    """What the gate says."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    INCONCLUSIVE = "INCONCLUSIVE"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Subject(_Record):
    """One model name that the promotion would move, measured beside its current champion."""

    model_name: str = Field(description="Public name, base or variant.")
    version: int = Field(description="The version that would become champion.")
    champion_version: int | None = Field(description="The champion of now; None for the first.")
    candidate: Evaluation | None = Field(description="Figures of the version; None: not measurable")
    champion: Evaluation | None = Field(description="Figures of the champion on the same images.")
    problem: str = Field(default="", description="Why figures are missing, where they are.")


class GateReason(_Record):
    """One rule's answer for one model name."""

    rule: str = Field(description="Name of the rule.")
    model_name: str = Field(description="The model that it was asked about.")
    outcome: GateOutcome = Field(description="What the rule says.")
    measured: float | None = Field(description="The figure that was compared.")
    limit: float | None = Field(description="What it was compared with.")
    message: str = Field(description="One sentence for people.")


class GateReport(_Record):
    """All rules for all models of a release."""

    outcome: GateOutcome = Field(description="The worst of the reasons.")
    reasons: tuple[GateReason, ...] = Field(description="One for each rule and model.")

    def summary(self) -> str:
        """The outcome with the reasons that kept it from passing."""
        spoken = [r.message for r in self.reasons if r.outcome is not GateOutcome.PASSED]
        return self.outcome.value + (": " + "; ".join(spoken) if spoken else "")


def judge(subjects: Sequence[Subject], settings: GateSettings) -> GateReport:
    """Ask every rule about every model that would move."""
    reasons: list[GateReason] = []
    for subject in subjects:
        if subject.candidate is None:
            reasons.append(_unmeasured(subject))
            continue
        reasons.append(_floor(subject, subject.candidate, settings.min_map50))
        reasons.append(_no_regression(subject, subject.candidate, settings.max_regression))
    return GateReport(outcome=_worst(reasons), reasons=tuple(reasons))


def _worst(reasons: Sequence[GateReason]) -> GateOutcome:
    outcomes = {reason.outcome for reason in reasons}
    if GateOutcome.FAILED in outcomes:
        return GateOutcome.FAILED
    # Nothing measured is no evidence: an empty report must never pass.
    if GateOutcome.INCONCLUSIVE in outcomes or not outcomes:
        return GateOutcome.INCONCLUSIVE
    return GateOutcome.PASSED


def _unmeasured(subject: Subject) -> GateReason:
    return GateReason(
        rule="measured",
        model_name=subject.model_name,
        outcome=GateOutcome.INCONCLUSIVE,
        measured=None,
        limit=None,
        message=f"{subject.model_name} version {subject.version} could not be measured: "
        + (subject.problem or "it has no IR, or no scenario is recorded with it"),
    )


def _floor(subject: Subject, candidate: Evaluation, floor: float) -> GateReason:
    good = candidate.map50 >= floor
    return GateReason(
        rule="absolute floor",
        model_name=subject.model_name,
        outcome=GateOutcome.PASSED if good else GateOutcome.FAILED,
        measured=candidate.map50,
        limit=floor,
        message=f"mAP50 {candidate.map50:.3f} of {subject.model_name} is "
        f"{'at or above' if good else 'below'} the floor {floor:.3f}",
    )


def _no_regression(subject: Subject, candidate: Evaluation, allowed: float) -> GateReason:
    if subject.champion_version is None:
        outcome, limit, message = GateOutcome.PASSED, None, "there is no champion to fall behind"
    elif subject.champion is None:
        outcome, limit = GateOutcome.INCONCLUSIVE, None
        message = f"the champion, version {subject.champion_version}, could not be measured"
        message += f": {subject.problem}" if subject.problem else ""
    else:
        limit = max(0.0, subject.champion.map50 - allowed)
        good = candidate.map50 >= limit
        outcome = GateOutcome.PASSED if good else GateOutcome.FAILED
        message = (
            f"mAP50 {subject.champion.map50:.3f} -> {candidate.map50:.3f}, "
            f"{'within' if good else 'more than'} {allowed:.3f} below the champion"
        )
    return GateReason(
        rule="no regression",
        model_name=subject.model_name,
        outcome=outcome,
        measured=candidate.map50,
        limit=limit,
        message=f"{subject.model_name}: {message}",
    )
