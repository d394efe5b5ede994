"""Measures what a promotion would move beside what is in production, and keeps that as the record.

plan -> are the files those that were registered? -> measure both on the frozen images -> gate
     -> page and pictures -> bound to files, gate, scenario, policy and champions -> record
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from guardianflow.evaluation.gate import judge
from guardianflow.evaluation.import_source import describe_origin
from guardianflow.evaluation.subjects import (
    Compared,
    FrozenImages,
    OnProgress,
    Pair,
    examine_name,
    find_ground,
)
from guardianflow.machine.disk import scratch
from guardianflow.mlflow_store.records import PROMOTIONS, Draft, close_record, open_record
from guardianflow.names import ModelName
from guardianflow.promotion.approval.policy import ApprovalRule
from guardianflow.promotion.binding import bind
from guardianflow.promotion.evidence.lineage import read_lineage
from guardianflow.promotion.evidence.pictures import (
    Pictures,
    count_dark,
    draw_pictures,
    retention_marks,
)
from guardianflow.promotion.evidence.sentences import deciding, headline
from guardianflow.promotion.page import Links, evidence_page
from guardianflow.promotion.proposal import Proposal
from guardianflow.registry import ModelAlias, ModelRegistryManager, Plan
from guardianflow.registry.release_state import champion_moves
from guardianflow.scenario import GateSettings, Scenario, Today
from guardianflow.wording.language import Language

EVIDENCE_PAGE = "evidence.md"


@dataclass(frozen=True)
class Inquiry:
    """Who asks, why, with force or not, under which policy, and what judges and shows it today.

    Without a token nothing is kept.
    """

    token: str | None
    requested_by: str
    reason: str
    force: bool
    rule: ApprovalRule
    today: Today


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
    ground = find_ground(registry, info, inquiry.today)
    scenario = ground.scenario
    compared = _examine_names(registry, plan, ground, on_progress)
    subjects = tuple(one.subject for one in compared)
    gate = judge(subjects, scenario.gate if scenario else GateSettings())
    token, client = inquiry.token, registry.client
    with scratch() as folder:
        title = f"promote {plan.model_name} {plan.version}"
        run_id = open_record(client, PROMOTIONS, token, title) if token else ""
        proposal = Proposal(
            model_name=plan.model_name,
            version=plan.version,
            expected_champion=plan.champion.get(plan.model_name),
            moves=plan.moves,
            stays=_stays(plan),
            warnings=(*rejected, *plan.warnings),
            subjects=subjects,
            gate=gate,
            headline=headline(subjects, gate),
            scenario=f"{scenario.name} {scenario.version}" if scenario else "",
            origin=describe_origin(registry, info),
            images=len(ground.samples),
            dark_images=count_dark(ground.samples),
            lineage=read_lineage(registry, info),
            pictures=_draw(compared, ground, scenario, folder) if token else None,
            language=scenario.language if scenario else Language.EN,
            requested_by=inquiry.requested_by,
            reason=inquiry.reason.strip(),
            forced=inquiry.force,
            evidence_run_id=run_id,
            time=datetime.now(UTC),
            policy=inquiry.rule,
            binding=bind(
                registry,
                (plan.model_name, plan.version),
                plan.moves,
                gate,
                inquiry.rule,
                scenario.judging if scenario else {},
            ),
        )
        if token:
            page = evidence_page(proposal, Links.to(client, proposal))
            (folder / EVIDENCE_PAGE).write_text(page, encoding="utf-8")
            close_record(client, run_id, proposal, _draft(folder, proposal))
    return proposal


def _examine_names(
    registry: ModelRegistryManager, plan: Plan, ground: FrozenImages, on_progress: OnProgress | None
) -> list[Compared]:
    """Measure every name whose champion would move."""
    back = {move.name: move.after for move in plan.moves if move.alias is ModelAlias.ROLLBACK}
    pairs = (
        Pair(name, after, before, back.get(name))
        for name, (before, after) in champion_moves(plan.moves).items()
    )
    return [examine_name(registry, pair, ground, on_progress) for pair in pairs]


def _stays(plan: Plan) -> dict[str, int]:
    """Variants whose champions do not move, where their base does."""
    moving = champion_moves(plan.moves)
    base = ModelName.parse(plan.model_name).base.public
    return {
        name: version
        for name, version in plan.champion.items()
        if base in moving and name not in moving and version is not None
    }


def _draft(folder: Path, proposal: Proposal) -> Draft:
    tags = {
        "guardianflow.name": proposal.model_name,
        "guardianflow.version": str(proposal.version),
        "guardianflow.evaluation.gate": proposal.gate.outcome.value,
    }
    marks, metrics = retention_marks(proposal.pictures, proposal.language, proposal.time)
    return Draft(folder, {**tags, **marks}, metrics)


def _draw(
    compared: Sequence[Compared], ground: FrozenImages, scenario: Scenario | None, folder: Path
) -> Pictures | None:
    """Cut out where candidate and champion disagree, of the model that the floor would run."""
    subject = deciding([one.subject for one in compared])
    shown = next((one for one in compared if one.subject is subject), None)
    if scenario is None or shown is None or shown.candidate is None:
        return None
    before = shown.champion
    return draw_pictures(
        (shown.candidate.version, before.version if before else None),
        (shown.candidate.seen, before.seen if before else None),
        ground.samples,
        ground.classes,
        folder,
        days=scenario.evidence.picture_days,
    )
