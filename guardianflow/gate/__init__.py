"""The gate: rules with thresholds on what was measured; it judges, it measures nothing itself.

    report      the words: subject, rule, reason, report
    sampling    a figure with its bounds against a limit; how many more cases would decide
    figures     rules about what a version sees: floors, regression, misses, false alarms
    standing    rules about what stands around it: latency, data, the way back
    variant     rules about a variant against its source
    judgement   asks all of them

any reason FAILED -> FAILED;  else any INCONCLUSIVE -> INCONCLUSIVE;  else PASSED
"""

from guardianflow.gate.judgement import judge
from guardianflow.gate.report import (
    GateOutcome,
    GateReason,
    GateReport,
    Leaks,
    Rule,
    Subject,
)
from guardianflow.gate.variant import judge_variant

__all__ = [
    "GateOutcome",
    "GateReason",
    "GateReport",
    "Leaks",
    "Rule",
    "Subject",
    "judge",
    "judge_variant",
]
