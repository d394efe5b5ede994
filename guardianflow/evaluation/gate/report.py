"""The data of the gate: what it is asked about, and what it answers."""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from guardianflow.evaluation.speed import VariantCost
from guardianflow.stored import Stored
from guardianflow.vision.metrics.comparison import PairedComparison
from guardianflow.vision.metrics.evaluation import Evaluation
from guardianflow.vision.metrics.latency import Latency


class GateOutcome(StrEnum):
    """What the gate says."""

    PASSED = "PASSED"
    """A person is asked."""
    FAILED = "FAILED"
    """It ends here, unless somebody who may overrides it with a reason."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """A person is asked, and is told what is missing."""


class GateRule(StrEnum):
    """What the gate asks; the names are kept in records."""

    MEASURED = "measured"
    IMAGES = "enough images"
    FLOOR = "absolute floor"
    REGRESSION = "no regression"
    RECALL = "no regression: recall"
    MISSES = "miss rate"
    FALSE_ALARMS = "false alarms"
    LATENCY = "latency"
    DATA = "data contamination"
    WAY_BACK = "way back"
    SOURCE_ACCURACY = "as good as its source: accuracy"
    SOURCE_RECALL = "as good as its source: recall"
    SOURCE_SPEED = "faster than its source"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Leaks(_Record):
    """How many images of the evaluation set are among those that were learned from."""

    exact: int = Field(ge=0, description="The same bytes as an image of train or val.")
    near: int = Field(ge=0, description="Almost the same picture.")


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
    champion_held_out: bool = Field(
        default=True,
        description="Whether the champion's own training kept these images for evaluation, too; "
        "if not, it may have learned from them.",
    )
    cost: VariantCost | None = Field(
        default=None, description="Of a variant: what it costs against its source."
    )
    latency: Latency | None = Field(
        default=None, description="Of one frame on the machine that judged, where it was asked for."
    )
    leaks: Leaks | None = Field(
        default=None, description="What its training knew of these images; None: nobody looked."
    )
    imported: bool = Field(default=False, description="Whether another trainer made it.")
    way_back: int | None = Field(
        default=None, description="What @rollback would name then; None: nothing."
    )
    way_back_problem: str = Field(
        default="", description="Why the files of that version cannot be used."
    )
    problem: str = Field(default="", description="Why figures are missing, where they are.")


class GateReason(_Record):
    """One rule's answer for one model name."""

    rule: GateRule = Field(description="Name of the rule.")
    model_name: str = Field(description="The model that it was asked about.")
    outcome: GateOutcome = Field(description="What the rule says.")
    measured: float | None = Field(description="The figure that was compared.")
    limit: float | None = Field(description="What it was compared with.")
    message: str = Field(description="One sentence for people.")
    label: str = Field(
        default="",
        # Older questions are recognised by the digest of a record without it.
        exclude_if=lambda label: not label,
        description="The class that it is about; '' where it is about all, or in older records.",
    )

    @classmethod
    def of(
        cls,
        rule: GateRule,
        model_name: str,
        outcome: GateOutcome,
        message: str,
        *,
        measured: float | None = None,
        limit: float | None = None,
        label: str = "",
    ) -> "GateReason":
        """Make a reason whose message begins with the model's name."""
        return cls(
            rule=rule,
            model_name=model_name,
            outcome=outcome,
            measured=measured,
            limit=limit,
            message=f"{model_name}: {message}",
            label=label,
        )


class GateReport(Stored):
    """All rules for all models of a release."""

    outcome: GateOutcome = Field(description="The worst of the reasons.")
    reasons: tuple[GateReason, ...] = Field(description="One for each rule and model.")

    @classmethod
    def of(cls, reasons: Sequence[GateReason]) -> "GateReport":
        """Make the report of some reasons."""
        return cls(outcome=_worst(reasons), reasons=tuple(reasons))

    def summary(self) -> str:
        """Return the outcome with the reasons why it did not pass, failures first."""
        spoken = [
            reason.message
            for outcome in (GateOutcome.FAILED, GateOutcome.INCONCLUSIVE)
            for reason in self.reasons
            if reason.outcome is outcome
        ]
        return self.outcome.value + (": " + "; ".join(spoken) if spoken else "")


def _worst(reasons: Sequence[GateReason]) -> GateOutcome:
    outcomes = {reason.outcome for reason in reasons}
    if GateOutcome.FAILED in outcomes:
        return GateOutcome.FAILED
    # Nothing measured is no evidence: an empty report must never pass.
    return GateOutcome.PASSED if outcomes == {GateOutcome.PASSED} else GateOutcome.INCONCLUSIVE
