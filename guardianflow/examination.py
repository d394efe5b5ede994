"""Measures what a promotion would move beside what is in production, and keeps that as the record.

plan -> are the files those that were registered? -> measure both on the frozen images -> gate
     -> page and pictures -> bound to files, gate, scenario, policy and champions -> record
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from guardianflow.approval import ApprovalRule
from guardianflow.binding import bind
from guardianflow.data.dataset import Sample
from guardianflow.evidence import evidence_markdown, headline
from guardianflow.gate import GateOutcome, GateReport, Subject, judge
from guardianflow.measuring.pictures import comparison_sheet
from guardianflow.origin import describe_origin
from guardianflow.proposal import Proposal, champion_moves
from guardianflow.records import PROMOTIONS, Draft, close_record, open_record
from guardianflow.registry import ModelAlias, ModelRegistryManager, Plan
from guardianflow.scenario import GateSettings
from guardianflow.subjects import Compared, Ground, OnProgress, Pair, examine_name, find_ground

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
    on_progress: OnProgress | None,
) -> Proposal:
    """Measure a plan, judge it, and keep the whole of it in MLflow under the token, if any."""
    if plan.version is None:
        raise ValueError("a plan of a promotion names a version")
    info = registry.get_version(plan.model_name, plan.version)
    ground = find_ground(registry, info)
    scenario = ground.scenario
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subjects = _examine_names(registry, plan, ground, folder, on_progress)
        gate = judge(subjects, scenario.gate if scenario else GateSettings())
        title = f"promote {plan.model_name} {plan.version}"
        token = inquiry.token
        run_id = open_record(registry.client, PROMOTIONS, token, title) if token else ""
        proposal = Proposal(
            model_name=plan.model_name,
            version=plan.version,
            expected_champion=plan.champion.get(plan.model_name),
            moves=plan.moves,
            warnings=(*_overrides(inquiry, gate), *rejected, *plan.warnings),
            subjects=subjects,
            gate=gate,
            headline=headline(subjects, gate),
            scenario=f"{scenario.name} {scenario.version}" if scenario else "",
            origin=describe_origin(registry, info),
            images=len(ground.samples),
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


def _examine_names(
    registry: ModelRegistryManager,
    plan: Plan,
    ground: Ground,
    folder: Path,
    on_progress: OnProgress | None,
) -> tuple[Subject, ...]:
    """Measure every name whose champion would move, and draw where the two differ most."""
    subjects: list[Subject] = []
    back = {move.name: move.after for move in plan.moves if move.alias is ModelAlias.ROLLBACK}
    for move in champion_moves(plan.moves):
        if move.after is None:
            raise ValueError(f"a promotion never empties @champion of {move.name}")
        pair = Pair(move.name, move.after, move.before, back.get(move.name))
        comparison = examine_name(registry, pair, ground, on_progress)
        subjects.append(comparison.subject)
        _draw(comparison, ground.samples, ground.classes, folder)
    return tuple(subjects)


def _overrides(inquiry: Inquiry, gate: GateReport) -> tuple[str, ...]:
    """Who lets a question be asked that the gate has answered."""
    if not (inquiry.force and gate.outcome is GateOutcome.FAILED):
        return ()
    return (f"The gate says FAILED, {inquiry.requested_by} overrides it: {inquiry.reason.strip()}",)


def _draft(folder: Path, proposal: Proposal) -> Draft:
    return Draft(
        folder,
        tags={
            "guardianflow.name": proposal.model_name,
            "guardianflow.version": str(proposal.version),
            "guardianflow.gate": proposal.gate.outcome.value,
        },
    )


def _draw(
    comparison: Compared, samples: Sequence[Sample], classes: Sequence[str], folder: Path
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
