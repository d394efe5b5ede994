"""Rules about a version's circumstances: time per frame, its training data, the way back."""

from collections.abc import Iterator, Sequence

from guardianflow.evaluation.gate.report import GateOutcome, GateReason, GateRule, Subject
from guardianflow.scenario import GateSettings


def judge_context(
    subject: Subject, release: Sequence[Subject], settings: GateSettings
) -> Iterator[GateReason]:
    """Apply all rules that need no accuracy figures.

    `release` has all subjects that would move together.
    """
    if settings.max_latency_ms is not None:
        yield _latency(subject, settings.max_latency_ms)
    if reason := _contamination(subject, settings.max_contaminated):
        yield reason
    yield _way_back(subject, release)


def _latency(subject: Subject, budget_ms: float) -> GateReason:
    """Require 19 of 20 frames to be within the budget on the machine that judges.

    A busy machine makes single frames slow, not half of them. So the rule fails where the median
    exceeds the budget, and is inconclusive where only the 95th percentile does.
    """
    taken = subject.latency
    if taken is None:
        outcome = GateOutcome.INCONCLUSIVE
        said = f"what a frame takes here was not measured; at most {budget_ms:.1f} ms are allowed"
    else:
        said = (
            f"19 of 20 frames take at most {taken.p95_ms:.1f} ms (half of them {taken.p50_ms:.1f} "
            f"ms) on {taken.instruction_set}, {taken.cpu}; {budget_ms:.1f} ms are allowed"
        )
        if taken.p95_ms <= budget_ms:
            outcome = GateOutcome.PASSED
        elif taken.p50_ms > budget_ms:
            outcome = GateOutcome.FAILED
        else:
            outcome = GateOutcome.INCONCLUSIVE
            said += ": a busy machine may be why, ask again when it is idle"
    measured = taken.p95_ms if taken else None
    name = subject.model_name
    return GateReason.of(GateRule.LATENCY, name, outcome, said, measured=measured, limit=budget_ms)


def _contamination(subject: Subject, tolerated: int) -> GateReason | None:
    """Require that the evaluation images were not learned from; None where nobody can know.

    It is unknown what an import has learned from, and nothing done here would tell: an eternal
    INCONCLUSIVE would be of no use, so the page says it instead. The data set that its thresholds
    were chosen on is judged all the same.
    """
    name, leaks = subject.model_name, subject.leaks
    if leaks is None:
        if subject.imported:
            return None
        said = (
            "nobody compared what it has learned from with the evaluation set; `guardianflow run "
            "SCENARIO --type train` does it"
        )
        open_ = GateOutcome.INCONCLUSIVE
        return GateReason.of(GateRule.DATA, name, open_, said, limit=tolerated)
    count = leaks.exact + leaks.near
    said = (
        f"{count} images of the evaluation set are in train or val ({leaks.exact} the same, "
        f"{leaks.near} nearly), {tolerated} are tolerated"
    )
    outcome = GateOutcome.PASSED if count <= tolerated else GateOutcome.FAILED
    return GateReason.of(GateRule.DATA, name, outcome, said, measured=count, limit=tolerated)


def _way_back(subject: Subject, release: Sequence[Subject]) -> GateReason:
    """Require every promotion but the first to leave an intact version to go back to.

    A rollback moves the whole release. Where another name of it gets its first champion, that name
    has nothing to go back to, and a rollback of the whole release is refused.
    """
    outcome, version = GateOutcome.PASSED, subject.way_back
    first = [other.model_name for other in release if other.champion_version is None]
    if subject.champion_version is None:
        said = "it is the first champion: there is nothing to go back to yet"
    elif version is None:
        outcome, said = GateOutcome.FAILED, "the promotion would leave no @rollback"
    elif subject.way_back_problem:
        outcome = GateOutcome.FAILED
        said = f"@rollback would be version {version}, but {subject.way_back_problem}"
    elif first:
        outcome = GateOutcome.INCONCLUSIVE
        said = (
            f"@rollback would be version {version}, but a rollback of the release would leave "
            f"{', '.join(first)} without a champion and be refused; until the next promotion only "
            f"`guardianflow rollback {subject.model_name} --only` goes back"
        )
    else:
        said = f"@rollback would be version {version}, its files are whole"
    return GateReason.of(GateRule.WAY_BACK, subject.model_name, outcome, said, measured=version)
