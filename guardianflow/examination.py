"""Measures what a promotion would move beside what is in production, and keeps that as the record.

plan -> are the files those that were registered? -> measure both on the frozen images -> gate
     -> page and pictures -> bound to files, gate, scenario, policy and champions -> record
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from guardianflow.approval import ApprovalRule
from guardianflow.artifacts import verify_version
from guardianflow.binding import bind
from guardianflow.data.dataset import Sample
from guardianflow.errors import ArtifactMissing
from guardianflow.evidence import Comparison, evidence_markdown, headline
from guardianflow.gate import Subject, judge
from guardianflow.measuring.comparison import PairedComparison, compare
from guardianflow.measuring.cost import VariantCost, read_cost
from guardianflow.measuring.measurement import (
    Measured,
    evaluation_digest,
    evaluation_set,
    measure_version,
    recorded_scenario,
)
from guardianflow.measuring.pictures import comparison_sheet
from guardianflow.origin import describe_origin
from guardianflow.proposal import Proposal, champion_moves
from guardianflow.records import PROMOTIONS, Draft, close_record, open_record
from guardianflow.registry import ModelRegistryManager, Move, Plan, RegisteredModelInfo
from guardianflow.scenario import GateSettings, Scenario

EVIDENCE_PAGE = "evidence.md"
_PICTURE_FRAMES = 4


@dataclass(frozen=True)
class Inquiry:
    """Who asks, why, how urgently, and under which policy; without a token nothing is kept."""

    token: str | None
    requested_by: str
    reason: str
    force: bool
    rule: ApprovalRule


def examine(
    registry: ModelRegistryManager,
    plan: Plan,
    inquiry: Inquiry,
    rejected: tuple[str, ...],
    on_progress: Callable[[str, int, int], None] | None,
) -> Proposal:
    """Measure a plan, judge it, and keep the whole of it in MLflow under the token, if any."""
    if plan.version is None:
        raise ValueError("a plan of a promotion names a version")
    info = registry.get_version(plan.model_name, plan.version)
    scenario = recorded_scenario(registry, info)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples, problem = _evaluation_frames(registry, info, scenario)
        subjects: list[Subject] = []
        for move in champion_moves(plan.moves):
            damaged = _damage(registry, move)
            if scenario and samples and not damaged:
                comparison = _compare(registry, move, samples, scenario.classes, on_progress)
                subjects.append(comparison.subject)
                _draw(comparison, samples, scenario.classes, folder)
            else:
                subjects.append(_unmeasured(move, damaged or problem))
        gate = judge(subjects, scenario.gate if scenario else GateSettings())
        title = f"promote {plan.model_name} {plan.version}"
        token = inquiry.token
        run_id = open_record(registry.client, PROMOTIONS, token, title) if token else ""
        proposal = Proposal(
            model_name=plan.model_name,
            version=plan.version,
            expected_champion=plan.champion.get(plan.model_name),
            moves=plan.moves,
            warnings=(*rejected, *plan.warnings),
            subjects=tuple(subjects),
            gate=gate,
            headline=headline(subjects, gate),
            scenario=f"{scenario.name} {scenario.version}" if scenario else "",
            origin=describe_origin(registry, info),
            images=len(samples),
            requested_by=inquiry.requested_by,
            reason=inquiry.reason.strip(),
            forced=inquiry.force,
            evidence_run_id=run_id,
            time=datetime.now(UTC),
            policy=inquiry.rule,
            binding=bind(registry, plan.model_name, plan.version, plan.moves, gate, inquiry.rule),
        )
        (folder / EVIDENCE_PAGE).write_text(evidence_markdown(proposal), encoding="utf-8")
        if token:
            close_record(registry.client, run_id, proposal, _draft(folder, proposal))
    return proposal


def _evaluation_frames(
    registry: ModelRegistryManager, info: RegisteredModelInfo, scenario: Scenario | None
) -> tuple[Sequence[Sample], str]:
    """The frozen frames that a version may be measured on, or why there are none."""
    if scenario is None:
        return (), "no scenario is recorded with it"
    try:
        _, samples = evaluation_set(scenario, recorded=evaluation_digest(registry, info))
    except ArtifactMissing as error:
        return (), error.message
    return samples, ""


def _damage(registry: ModelRegistryManager, move: Move) -> str:
    """Why MLflow does not serve the files that were registered; '' if it does.

    What is measured may come from the local copy: an approval is about what will be served.
    """
    assert move.after is not None
    try:
        verify_version(registry.client, registry.get_version(move.name, move.after))
    except ArtifactMissing as error:
        return error.message
    return ""


def _draft(folder: Path, proposal: Proposal) -> Draft:
    return Draft(
        folder,
        tags={
            "guardianflow.name": proposal.model_name,
            "guardianflow.version": str(proposal.version),
            "guardianflow.gate": proposal.gate.outcome.value,
        },
    )


def _unmeasured(move: Move, problem: str) -> Subject:
    if move.after is None:
        raise ValueError(f"a promotion never empties @champion of {move.name}")
    return Subject(
        model_name=move.name,
        version=move.after,
        champion_version=move.before,
        candidate=None,
        champion=None,
        problem=problem,
    )


def _compare(
    registry: ModelRegistryManager,
    move: Move,
    samples: Sequence[Sample],
    classes: Sequence[str],
    on_progress: Callable[[str, int, int], None] | None,
) -> Comparison:
    """Measure one name's next champion and its champion of now on the same frames."""
    problems: list[str] = []

    def measure(version: int | None, role: str) -> Measured | None:
        if version is None:
            return None
        label = f"measure {role} {move.name} version {version}"

        def show(done: int, total: int) -> None:
            if on_progress:
                on_progress(label, done, total)

        try:
            return measure_version(registry, move.name, version, samples, classes, on_progress=show)
        except ArtifactMissing as error:
            problems.append(error.message)
            # Not measurable is INCONCLUSIVE, which the gate says; it is no reason to fail here.
            return None

    candidate, champion = measure(move.after, "candidate"), measure(move.before, "champion")
    subject = _unmeasured(move, "; ".join(problems)).model_copy(
        update={
            "candidate": candidate.evaluation if candidate else None,
            "champion": champion.evaluation if champion else None,
            "difference": _difference(champion, candidate, samples, classes),
            "cost": _cost(registry, move),
        }
    )
    return Comparison(subject, candidate, champion)


def _difference(
    before: Measured | None,
    after: Measured | None,
    samples: Sequence[Sample],
    classes: Sequence[str],
) -> PairedComparison | None:
    """What the candidate gains or loses against the champion; None where one is missing."""
    return compare(before.seen, after.seen, samples, classes) if before and after else None


def _cost(registry: ModelRegistryManager, move: Move) -> VariantCost | None:
    """What the run of a variant kept of it; None for a base, and for what others made."""
    assert move.after is not None
    info = registry.get_version(move.name, move.after)
    return read_cost(registry.client, info.run_id) if info.run_id else None


def _draw(
    comparison: Comparison, samples: Sequence[Sample], classes: Sequence[str], folder: Path
) -> None:
    """Draw the frames on which candidate and champion differ most, side by side."""
    if comparison.candidate is None:
        return
    chosen = comparison.most_different(_PICTURE_FRAMES)
    columns = {f"version {comparison.subject.version} (candidate)": comparison.candidate}
    if comparison.champion:
        before = {f"version {comparison.champion.version} (champion)": comparison.champion}
        columns = {**before, **columns}
    comparison_sheet(
        [samples[index] for index in chosen],
        {title: [m.seen.shown()[index] for index in chosen] for title, m in columns.items()},
        classes,
        folder / f"{comparison.subject.model_name.rpartition('/')[2]}.png",
    )
