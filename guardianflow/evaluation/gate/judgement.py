"""Applies every rule to every name that a promotion would move."""

from collections.abc import Sequence

from guardianflow.evaluation.gate.context_rules import judge_context
from guardianflow.evaluation.gate.figure_rules import judge_figures
from guardianflow.evaluation.gate.report import (
    GateOutcome,
    GateReason,
    GateReport,
    GateRule,
    Subject,
)
from guardianflow.evaluation.gate.variant_rules import judge_variant
from guardianflow.scenario import GateSettings


def judge(subjects: Sequence[Subject], settings: GateSettings) -> GateReport:
    """Apply every rule to every model that would move."""
    reasons: list[GateReason] = []
    for subject in subjects:
        if subject.candidate is None:
            reasons.append(_unmeasured(subject))
        else:
            reasons += judge_figures(subject, subject.candidate, settings)
        if subject.cost:
            reasons += judge_variant(subject.model_name, subject.cost, settings).reasons
        reasons += judge_context(subject, subjects, settings)
    return GateReport.of(reasons)


def _unmeasured(subject: Subject) -> GateReason:
    return GateReason(
        rule=GateRule.MEASURED,
        model_name=subject.model_name,
        outcome=GateOutcome.INCONCLUSIVE,
        measured=None,
        limit=None,
        message=f"{subject.model_name} version {subject.version} could not be measured: "
        + (subject.problem or "it has no IR, or no scenario is recorded with it"),
    )
