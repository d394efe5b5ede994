"""Rules about a variant against the version that it was made from."""

from typing import assert_never

from guardianflow.evaluation.gate.figure_rules import doubted
from guardianflow.evaluation.gate.report import GateOutcome, GateReason, GateReport, GateRule
from guardianflow.evaluation.gate.sampling import BoundedFigure, judge_floor
from guardianflow.evaluation.speed import VariantCost
from guardianflow.scenario import GateSettings, Precision
from guardianflow.vision.metrics.comparison import Difference

# A variant that takes this much longer per frame is slower. Less is no proof: of so short a frame
# what surrounds the network is most, and a camera waits 33 ms or more for the next one.
_SLOWER_MS = 1.0


def judge_variant(model_name: str, cost: VariantCost, settings: GateSettings) -> GateReport:
    """Apply the rules that only variants have: as accurate as the source, and faster.

    A loss beyond the limit is FAILED where the whole interval is beyond it and there are enough
    images; where only the figure is, it may be chance.
    """
    difference = cost.difference
    reasons = [
        _kept(
            model_name,
            GateRule.SOURCE_ACCURACY,
            "mAP50-95",
            difference.map50_95,
            settings.max_variant_drop,
        )
    ]
    for label, lost in difference.recall.items():
        limit = settings.max_variant_recall_drop
        reason = _kept(model_name, GateRule.SOURCE_RECALL, f"recall of {label}", lost, limit)
        reasons.append(reason.model_copy(update={"label": label}))
    if difference.images < settings.min_images:
        reasons = [doubted(reason) for reason in reasons]
    if settings.min_speedup > 0 and _has_to_be_faster(cost.precision):
        reasons.append(_faster(model_name, cost, settings.min_speedup))
    return GateReport.of(reasons)


def _has_to_be_faster(precision: Precision) -> bool:
    match precision:
        case Precision.INT8:
            return True
        case Precision.FP16:
            # It computes as its source does; only its file is smaller.
            return False
        case _:
            assert_never(precision)


def _kept(
    model_name: str, rule: GateRule, what: str, lost: Difference, allowed: float
) -> GateReason:
    if lost.value >= -allowed:
        outcome = GateOutcome.PASSED
    else:
        outcome = GateOutcome.FAILED if lost.high < -allowed else GateOutcome.INCONCLUSIVE
    message = (
        f"{what} {lost.value:+.3f} ({lost.low:+.3f} to {lost.high:+.3f}) against its source, "
        f"{allowed:.3f} may be lost"
    )
    return GateReason.of(rule, model_name, outcome, message, measured=lost.value, limit=-allowed)


def _faster(model_name: str, cost: VariantCost, wanted: float) -> GateReason:
    rule, speed = GateRule.SOURCE_SPEED, cost.speed
    if speed is None:
        where = ", ".join(cost.measured_on) or "nowhere"
        message = f"its speed was never measured on such a machine (but {where}); "
        message += f"`guardianflow measure {model_name}` does it here"
        return GateReason.of(rule, model_name, GateOutcome.INCONCLUSIVE, message, limit=wanted)
    outcome = judge_floor(BoundedFigure(speed.speedup, speed.low, speed.high), wanted)
    message = f"{speed.sentence()}, {wanted:.2f}x is wanted"
    # Against as long as it may take; what the interval says holds for this run of a small network.
    late = speed.variant.p50_ms - speed.source_ms / wanted
    # Who wants more than "no slower" wants the ratio.
    if outcome is GateOutcome.FAILED and wanted <= 1 and late < _SLOWER_MS:
        outcome = GateOutcome.INCONCLUSIVE
        message += f"; {late:.2f} ms more per frame are too little to decide that it is too slow"
    return GateReason.of(rule, model_name, outcome, message, measured=speed.speedup, limit=wanted)
