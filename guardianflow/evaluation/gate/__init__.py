"""The gate: rules with thresholds. It judges figures and measures nothing itself.

    report         the words: subject, rule, reason, report
    sampling       a figure with its bounds against a limit; how many more cases would decide
    figure_rules   what a version sees: floors, regression, misses, false alarms
    context_rules  the circumstances of a version: time per frame, data, the way back
    variant_rules  a variant against its source
    judgement      asks all of them

any reason FAILED -> FAILED;  else any INCONCLUSIVE -> INCONCLUSIVE;  else PASSED
"""

from guardianflow.evaluation.gate.judgement import judge
from guardianflow.evaluation.gate.report import (
    GateOutcome,
    GateReason,
    GateReport,
    GateRule,
    Leaks,
    Subject,
)
from guardianflow.evaluation.gate.variant_rules import judge_variant

__all__ = [
    "GateOutcome",
    "GateReason",
    "GateReport",
    "GateRule",
    "Leaks",
    "Subject",
    "judge",
    "judge_variant",
]
