"""Rules about a version's figures on the frozen images, absolute and against the champion."""

from collections.abc import Iterator

from guardianflow.evaluation.gate.report import GateOutcome, GateReason, GateRule, Subject
from guardianflow.evaluation.gate.sampling import (
    BoundedFigure,
    LimitVerdict,
    against_ceiling,
    against_floor,
    drawn,
)
from guardianflow.scenario import GateSettings
from guardianflow.vision.metrics.comparison import Difference, PairedComparison
from guardianflow.vision.metrics.evaluation import Evaluation
from guardianflow.vision.metrics.intervals import rate_at_least, rate_at_most, share_at_least


def judge_figures(
    subject: Subject, candidate: Evaluation, settings: GateSettings
) -> Iterator[GateReason]:
    """Apply all rules about the figures of a version that was measured."""
    enough = _enough_images(subject, candidate, settings.min_images)
    yield enough
    sure = enough.outcome is GateOutcome.PASSED
    for reason in _judge_figures(subject, candidate, settings):
        yield reason if sure else doubted(reason)


def _judge_figures(
    subject: Subject, candidate: Evaluation, settings: GateSettings
) -> Iterator[GateReason]:
    images = candidate.images
    map50 = BoundedFigure.of(candidate.map50, candidate.map50_bounds)
    yield _floor(subject, "mAP50", map50, images, settings.min_map50)
    if settings.min_map50_95 > 0:
        map50_95 = BoundedFigure.of(candidate.map50_95, candidate.map50_95_bounds)
        yield _floor(subject, "mAP50-95", map50_95, images, settings.min_map50_95)
    yield from _regressions(subject, settings)
    for name, limit in _miss_limits(candidate, settings).items():
        yield _misses(subject, candidate, name, limit, settings.min_objects)
    if settings.max_false_alarms_per_image is not None:
        yield _false_alarms(subject, candidate, settings.max_false_alarms_per_image)


def _enough_images(subject: Subject, candidate: Evaluation, wanted: int) -> GateReason:
    """Require a number of images: intervals from very few are too narrow to decide anything."""
    enough = candidate.images >= wanted
    message = f"measured on {candidate.images} images"
    if not enough:
        message += (
            f", which are too few to trust an interval: at least {wanted} are wanted, "
            f"{wanted - candidate.images} are missing"
        )
    outcome = GateOutcome.PASSED if enough else GateOutcome.INCONCLUSIVE
    name, images = subject.model_name, candidate.images
    return GateReason.of(GateRule.IMAGES, name, outcome, message, measured=images, limit=wanted)


def _floor(
    subject: Subject, what: str, figure: BoundedFigure, images: int, wanted: float
) -> GateReason:
    """Require a figure to reach a floor, whatever the champion's is."""
    judged = against_floor(drawn(figure, images), images, "images", wanted)
    said = f"{what} {figure.text()}, at least {wanted:.3f} is wanted"
    return _reason(GateRule.FLOOR, subject, judged, wanted, said)


def _no_regression(
    subject: Subject,
    difference: PairedComparison,
    what: str,
    lost: Difference,
    allowed: float,
    label: str = "",
) -> GateReason:
    """Limit the loss of a figure against the champion on the same images.

    It passes where even the low end of the paired interval is within the limit; that the figure
    itself is within proves nothing. A champion that may have learned from these images looks better
    than it is, so then a loss proves nothing either.
    """
    figure = BoundedFigure(lost.value, lost.low, lost.high)
    images = difference.images
    judged = against_floor(drawn(figure, images), images, "images", -allowed)
    if judged.outcome is GateOutcome.FAILED and not subject.champion_held_out:
        why = (
            "the champion was evaluated on other images and may have learned from these; train its "
            "scenario again on the data of now, or look at both"
        )
        judged = LimitVerdict(figure, GateOutcome.INCONCLUSIVE, why)
    said = (
        f"{what} {_pair(subject, what)}against champion version {subject.champion_version}: "
        f"{figure.text('+.3f')}, {allowed:.3f} may be lost"
    )
    rule = GateRule.REGRESSION if what == "mAP50" else GateRule.RECALL
    return _reason(rule, subject, judged, -allowed, said, label)


def _misses(
    subject: Subject, candidate: Evaluation, name: str, allowed: float, min_objects: int
) -> GateReason:
    """Require the miss rate of a class to be certainly within its limit.

    The bound is Clopper and Pearson's, one-sided. It assumes independent objects; where the
    bootstrap over images is wider, that counts.
    """
    found = candidate.per_class.get(name)
    objects = found.objects if found else 0
    missed = 1.0 - found.recall if found else 0.0
    if found is None or objects < min_objects:
        why = f"so few objects decide nothing: {min_objects - objects} are missing"
        judged = LimitVerdict(BoundedFigure(missed, 0.0, 1.0), GateOutcome.INCONCLUSIVE, why)
        said = f"{name}: {missed:.1%} of {objects} objects missed, at most {allowed:.1%} is allowed"
        return _reason(GateRule.MISSES, subject, judged, allowed, said, name)
    bounds = found.recall_bounds
    ends = (1 - bounds.high, 1 - bounds.low) if bounds else (missed, missed)
    by_image = BoundedFigure(missed, *ends)

    def guess(count: int) -> BoundedFigure:
        events = round(missed * count)
        exact = (share_at_least(events, count), 1 - share_at_least(count - events, count))
        return drawn(by_image, objects)(count).joined(*exact)

    judged = against_ceiling(guess, objects, "objects", allowed)
    said = (
        f"{name}: {judged.figure.text('.1%')} of {objects} objects missed, at most {allowed:.1%} "
        "is allowed"
    )
    return _reason(GateRule.MISSES, subject, judged, allowed, said, name)


def _false_alarms(subject: Subject, candidate: Evaluation, budget: float) -> GateReason:
    """Require false alarms per image to be certainly within a budget (Garwood's bound)."""
    rate, images = candidate.false_alarms_per_image, candidate.images
    bounds = candidate.false_alarms_bounds
    by_image = BoundedFigure(rate, *((bounds.low, bounds.high) if bounds else (rate, rate)))

    def guess(count: int) -> BoundedFigure:
        events = round(rate * count)
        exact = (rate_at_least(events, count), rate_at_most(events, count))
        return drawn(by_image, images)(count).joined(*exact)

    judged = against_ceiling(guess, images, "images", budget)
    said = f"{judged.figure.text('.2f')} false alarms per image, at most {budget:.2f} are allowed"
    return _reason(GateRule.FALSE_ALARMS, subject, judged, budget, said)


def doubted(reason: GateReason) -> GateReason:
    """Turn a failure on too few images into INCONCLUSIVE, so that a person is asked."""
    if reason.outcome is not GateOutcome.FAILED:
        return reason
    message = f"{reason.message}; on so few images that is no proof"
    return reason.model_copy(update={"outcome": GateOutcome.INCONCLUSIVE, "message": message})


def _regressions(subject: Subject, settings: GateSettings) -> Iterator[GateReason]:
    difference = subject.difference
    if difference is None:
        yield _unpaired(subject)
        return
    yield _no_regression(subject, difference, "mAP50", difference.map50, settings.max_regression)
    if settings.max_recall_regression < 1:
        for name, lost in difference.recall.items():
            allowed = settings.max_recall_regression
            what = f"recall of {name}"
            yield _no_regression(subject, difference, what, lost, allowed, name)


def _unpaired(subject: Subject) -> GateReason:
    first = subject.champion_version is None
    message = "there is no champion to fall behind"
    if not first:
        message = f"the champion, version {subject.champion_version}, could not be measured"
        message += f": {subject.problem}" if subject.problem else ""
    outcome = GateOutcome.PASSED if first else GateOutcome.INCONCLUSIVE
    return GateReason.of(GateRule.REGRESSION, subject.model_name, outcome, message)


def _miss_limits(candidate: Evaluation, settings: GateSettings) -> dict[str, float]:
    """Return the highest miss rate of each class that is judged."""
    # A class without objects has no figures, but it has a threshold.
    classes = dict.fromkeys((*candidate.thresholds, *candidate.per_class))
    limits = dict.fromkeys(classes, settings.max_miss_rate) | settings.max_miss_rates
    return {name: limit for name, limit in limits.items() if limit < 1}


def _pair(subject: Subject, what: str) -> str:
    if what != "mAP50" or subject.champion is None or subject.candidate is None:
        return ""
    return f"{subject.champion.map50:.3f} -> {subject.candidate.map50:.3f} "


def _reason(
    rule: GateRule,
    subject: Subject,
    judged: LimitVerdict,
    limit: float,
    message: str,
    label: str = "",
) -> GateReason:
    said = f"{message}; {judged.missing}" if judged.missing else message
    measured = judged.figure.value
    return GateReason.of(
        rule, subject.model_name, judged.outcome, said, measured=measured, limit=limit, label=label
    )
