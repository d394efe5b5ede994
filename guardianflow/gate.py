"""The gate: rules with thresholds on what was measured; it judges, it measures nothing itself.

any reason FAILED -> FAILED;  else any INCONCLUSIVE -> INCONCLUSIVE;  else PASSED
"""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from guardianflow.measuring.comparison import Difference, PairedComparison
from guardianflow.measuring.cost import VariantCost
from guardianflow.measuring.evaluation import Evaluation
from guardianflow.scenario import GateSettings, Precision


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
    difference: PairedComparison | None = Field(
        default=None,
        description="Candidate less champion on the same images; None unless both were measured.",
    )
    cost: VariantCost | None = Field(
        default=None, description="Of a variant: what it costs against its source."
    )
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
        if subject.cost:
            reasons += judge_variant(subject.model_name, subject.cost, settings).reasons
    return GateReport(outcome=_worst(reasons), reasons=tuple(reasons))


def judge_variant(model_name: str, cost: VariantCost, settings: GateSettings) -> GateReport:
    """Ask the rules that are about variants alone: as accurate as its source, and faster.

    A loss beyond the setting is FAILED where the whole interval is beyond it; where only the
    figure is, it may be chance. FP16 computes as its source does: its speed is not judged.
    """
    difference = cost.difference
    reasons = [
        _kept(model_name, "accuracy", "mAP50-95", difference.map50_95, settings.max_variant_drop)
    ]
    for label, lost in difference.recall.items():
        limit = settings.max_variant_recall_drop
        reasons.append(_kept(model_name, "recall", f"recall of {label}", lost, limit))
    if cost.precision is Precision.INT8 and settings.min_speedup > 0:
        reasons.append(_faster(model_name, cost, settings.min_speedup))
    return GateReport(outcome=_worst(reasons), reasons=tuple(reasons))


def _kept(model_name: str, rule: str, what: str, lost: Difference, allowed: float) -> GateReason:
    if lost.value >= -allowed:
        outcome = GateOutcome.PASSED
    else:
        outcome = GateOutcome.FAILED if lost.high < -allowed else GateOutcome.INCONCLUSIVE
    return GateReason(
        rule=f"as good as its source: {rule}",
        model_name=model_name,
        outcome=outcome,
        measured=lost.value,
        limit=-allowed,
        message=f"{model_name}: {what} {lost.value:+.3f} ({lost.low:+.3f} to {lost.high:+.3f}) "
        f"against its source, {allowed:.3f} may be lost",
    )


def _faster(model_name: str, cost: VariantCost, wanted: float) -> GateReason:
    speed = cost.speed
    if speed is None:
        outcome = GateOutcome.INCONCLUSIVE
        where = ", ".join(cost.measured_on) or "nowhere"
        message = f"its speed was never measured on such a machine (but {where}); "
        message += f"`guardianflow measure {model_name}` does it here"
    else:
        if speed.low >= wanted:
            outcome = GateOutcome.PASSED
        else:
            outcome = GateOutcome.FAILED if speed.high < wanted else GateOutcome.INCONCLUSIVE
        message = f"{speed.sentence()}, {wanted:.2f}x is wanted"
    return GateReason(
        rule="faster than its source",
        model_name=model_name,
        outcome=outcome,
        measured=speed.speedup if speed else None,
        limit=wanted,
        message=f"{model_name}: {message}",
    )


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
