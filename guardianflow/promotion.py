"""Promotion in two steps, the same for CLI and flow: propose() -> evidence, decide() -> rotation.

    propose: plan -> measure candidate and champion on the frozen images -> gate -> record in MLflow
    decide:  a person's Answer -> rotation of the aliases, or a rejection noted on the version

What a person approves is the record: decide() rotates exactly the versions that it shows, from
exactly the champions that they were compared with, or refuses.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from guardianflow.catalog import REASON_TAG, REJECTED, STATUS_TAG
from guardianflow.data.dataset import Sample
from guardianflow.errors import ArtifactMissing, ChampionChanged, GateFailed
from guardianflow.evidence import Comparison, evidence_markdown, headline
from guardianflow.gate import GateOutcome, Subject, judge
from guardianflow.measuring.measurement import (
    Measured,
    evaluation_digest,
    evaluation_set,
    measure_version,
    recorded_scenario,
)
from guardianflow.measuring.pictures import comparison_sheet
from guardianflow.proposal import Answer, Choice, Proposal
from guardianflow.records import (
    PROMOTIONS,
    Draft,
    close_record,
    find_record,
    open_record,
    read_record,
)
from guardianflow.registry import (
    ModelAlias,
    ModelRegistryManager,
    Move,
    Operation,
    Plan,
)
from guardianflow.scenario import GateSettings

EVIDENCE_PAGE = "evidence.md"
_PICTURE_FRAMES = 4


@dataclass(frozen=True)
class Decided:
    """What came of an answer."""

    operation: Operation | None
    message: str


def propose(
    registry: ModelRegistryManager,
    model_name: str,
    version: int | None = None,
    *,
    token: str,
    requested_by: str,
    force: bool = False,
    keep: bool = True,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Proposal:
    """Measure what would be promoted beside what is in production and let the gate judge it.

    Args:
        registry: The registry that knows both.
        model_name: Base or variant.
        version: The version asked for; None takes @candidate.
        token: The same token gives the same record; it is measured once.
        requested_by: Who asks, for the record.
        force: Ask a person although the gate says FAILED or the version is quarantined.
        keep: Write the record to MLflow; off for a dry run, which writes nothing.
        on_progress: Called with what is measured, frames done and frames in all.

    Raises:
        NoCandidate: There is nothing to promote.
        GateFailed: The gate says FAILED and force is off; the evidence is kept all the same.
    """
    client = registry.client
    if done := find_record(client, PROMOTIONS, token):
        proposal = read_record(client, done, Proposal)
    else:
        plan = registry.plan_promotion(
            model_name, version, force=force, actor=requested_by, write=keep
        )
        proposal = _examine(
            registry, plan, token if keep else None, requested_by, on_progress, force=force
        )
    if proposal.gate.outcome is GateOutcome.FAILED and not force:
        raise GateFailed(
            f"The gate says no to {proposal.model_name} version {proposal.version}: "
            f"{proposal.gate.summary()}.",
            remedy=f"Look at the evidence (MLflow run {proposal.evidence_run_id}), train a better "
            "version, or override with --force and a reason.",
            evidence_run_id=proposal.evidence_run_id,
            name=proposal.model_name,
            version=proposal.version,
        )
    return proposal


def decide(
    registry: ModelRegistryManager, proposal: Proposal, answer: Answer, *, token: str
) -> Decided:
    """Carry out what a person decided about a proposal.

    Raises:
        ChampionChanged: Another version became champion since the evidence was made.
        ReleaseChanged: Other versions would move than those that were shown and measured.
        Refused: A rule of the rotation says no; nothing was changed.
    """
    if answer.decision is Choice.REJECT:
        return _reject(registry, proposal, answer)
    operation = registry.promote_to_champion(
        proposal.model_name,
        proposal.version,
        expected_champion=proposal.expected_champion,
        expected_moves={m.name: (m.before, m.after) for m in _champion_moves(proposal.moves)},
        actor=answer.approver,
        reason=answer.reason,
        token=token,
        evidence=f"{proposal.evidence_run_id}:{proposal.digest}",
        force=proposal.forced,
    )
    return Decided(operation, operation.message)


def _reject(registry: ModelRegistryManager, proposal: Proposal, answer: Answer) -> Decided:
    """Note a rejection on the versions; one that has been in production keeps its status.

    Raises:
        ChampionChanged: The version is in production: a rejection would not take it out.
    """
    champion = registry.get_champion(proposal.model_name)
    actual = champion.version if champion else None
    if actual == proposal.version:
        raise ChampionChanged(proposal.model_name, proposal.expected_champion, actual)
    for subject in proposal.subjects:
        info = registry.get_version(subject.model_name, subject.version)
        if info.status not in ("", REJECTED) or ModelAlias.CHAMPION in info.aliases:
            continue
        text = f"rejected by {answer.approver}: {answer.reason}"
        registry.set_version_tag(subject.model_name, subject.version, REASON_TAG, text)
        registry.set_version_tag(subject.model_name, subject.version, STATUS_TAG, REJECTED)
    return Decided(
        None,
        f"{proposal.model_name} version {proposal.version} was rejected by "
        f"{answer.approver}: {answer.reason}. No alias was moved.",
    )


def _examine(
    registry: ModelRegistryManager,
    plan: Plan,
    token: str | None,
    requested_by: str,
    on_progress: Callable[[str, int, int], None] | None,
    *,
    force: bool,
) -> Proposal:
    """Measure a plan, judge it, and keep the whole of it in MLflow under the token, if any."""
    if plan.version is None:
        raise ValueError("a plan of a promotion names a version")
    info = registry.get_version(plan.model_name, plan.version)
    scenario = recorded_scenario(registry, info)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subjects: list[Subject] = []
        samples: Sequence[Sample] = ()
        problem = "no scenario is recorded with it"
        if scenario:
            try:
                _, samples = evaluation_set(scenario, recorded=evaluation_digest(registry, info))
            except ArtifactMissing as error:
                problem = error.message
        for move in _champion_moves(plan.moves):
            if scenario and samples:
                comparison = _compare(registry, move, samples, scenario.classes, on_progress)
                subjects.append(comparison.subject)
                _draw(comparison, samples, scenario.classes, folder)
            else:
                subjects.append(_unmeasured(move, problem))
        gate = judge(subjects, scenario.gate if scenario else GateSettings())
        title = f"promote {plan.model_name} {plan.version}"
        run_id = open_record(registry.client, PROMOTIONS, token, title) if token else ""
        proposal = Proposal(
            model_name=plan.model_name,
            version=plan.version,
            expected_champion=plan.champion.get(plan.model_name),
            moves=plan.moves,
            warnings=plan.warnings,
            subjects=tuple(subjects),
            gate=gate,
            headline=headline(subjects, gate),
            scenario=f"{scenario.name} {scenario.version}" if scenario else "",
            images=len(samples),
            requested_by=requested_by,
            forced=force,
            evidence_run_id=run_id,
            time=datetime.now(UTC),
        )
        (folder / EVIDENCE_PAGE).write_text(evidence_markdown(proposal), encoding="utf-8")
        if token:
            close_record(registry.client, run_id, proposal, _draft(folder, proposal))
    return proposal


def _draft(folder: Path, proposal: Proposal) -> Draft:
    return Draft(
        folder,
        tags={
            "guardianflow.name": proposal.model_name,
            "guardianflow.version": str(proposal.version),
            "guardianflow.gate": proposal.gate.outcome.value,
        },
    )


def _champion_moves(moves: Sequence[Move]) -> list[Move]:
    return [m for m in moves if m.alias == ModelAlias.CHAMPION and m.after is not None]


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
        }
    )
    return Comparison(subject, candidate, champion)


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
