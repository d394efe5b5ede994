"""Promotion in two steps, the same for CLI and flow: propose() -> evidence, decide() -> rotation.

    propose: plan -> measure candidate and champion on the frozen images -> gate -> record in MLflow
    decide:  the Answers of people -> is all as they saw it? -> rotation, or a rejection noted

What a person approves is the record and what it is bound to: decide() rotates exactly the versions
and files that it shows, from exactly the champions that they were compared with, under the policy
of then, or refuses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from guardianflow.errors import (
    ApprovalRequired,
    ApprovalVoid,
    ChampionChanged,
    GateFailed,
    InputError,
    VersionNotReady,
    VersionRejected,
)
from guardianflow.evaluation.gate import GateOutcome
from guardianflow.mlflow_store.records import PROMOTIONS, find_record, read_record
from guardianflow.mlflow_store.registered_models import EXPIRED, REASON_TAG, REJECTED, STATUS_TAG
from guardianflow.names import ModelName
from guardianflow.prefect_api.run_tokens import RunToken, TokenKind
from guardianflow.promotion.approval.policy import (
    Answer,
    ApprovalRule,
    Choice,
    actor_of,
    decision_of,
    may_override,
    names_a_person,
    reason_of,
)
from guardianflow.promotion.approval.stored_rules import read_rule
from guardianflow.promotion.binding import differences
from guardianflow.promotion.examination import Inquiry, examine
from guardianflow.promotion.form import sentence
from guardianflow.promotion.proposal import Proposal, is_in_time, require_in_time
from guardianflow.promotion.recorded_messages import recorded, recorded_void
from guardianflow.registry import ModelAlias, ModelRegistryManager, Operation, Plan
from guardianflow.registry.release_state import champion_moves
from guardianflow.registry.rotation.request import MAX_TEXT
from guardianflow.scenario import Today, nothing_known
from guardianflow.wording.language import one_stop


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
    reason: str = "",
    force: bool = False,
    keep: bool = True,
    today: Today = nothing_known,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Proposal:
    """Measure what would be promoted beside what is in production and let the gate judge it.

    Args:
        registry: The registry that knows both.
        model_name: Base or variant.
        version: The version asked for; None takes @candidate.
        token: The same token gives the same record; it is measured once.
        requested_by: Who asks, for the record.
        reason: Why; a version that was rejected is proposed again only with one.
        force: Ask a person although the gate says FAILED or the version is quarantined; wants a
            reason, and one whom the policy lets.
        keep: Write the record to MLflow; off for a dry run, which writes nothing.
        today: Knows scenarios as they stand now, whose gate and language count; what it does not
            know counts as the version's run recorded it.
        on_progress: Called with what is measured, frames done and frames in all.

    Raises:
        NoCandidate: There is nothing to promote.
        VersionRejected: A person rejected it before, and no reason was given.
        InputError: The policy wants somebody else to approve, and nobody says to have asked; or
            force without a reason.
        ApprovalRequired: Force by somebody whom the policy does not let.
        GateFailed: The gate says FAILED and force is off; the evidence is kept all the same.
    """
    client = registry.client
    if done := find_record(client, PROMOTIONS, token):
        proposal = read_record(client, done, Proposal)
    else:
        name = ModelName.parse(model_name)
        rule = read_rule(client, name)
        if force:
            require_may_override(rule, name, requested_by, reason)
        plan = registry.plan_promotion(
            model_name, version, force=force, actor=requested_by, write=keep
        )
        inquiry = Inquiry(token if keep else None, requested_by, reason, force, rule, today)
        _check_requester(plan, inquiry)
        rejected = rejections(registry, plan, reason)
        proposal = examine(registry, plan, inquiry, rejected, on_progress)
    if proposal.gate.outcome is GateOutcome.FAILED and not force:
        raise _gate_failed(proposal)
    return proposal


def decide(
    registry: ModelRegistryManager,
    proposal: Proposal,
    answers: Sequence[Answer],
    *,
    token: str,
    today: Today = nothing_known,
) -> Decided:
    """Carry out what people decided about a proposal, once for its token.

    Args:
        registry: The registry that both are about.
        proposal: What they were shown.
        answers: Their answers, those that count.
        token: The same token again returns the same operation.
        today: Knows scenarios as they stand now: other limits than then are not what was approved.

    Raises:
        ApprovalRequired: The answers are not what the policy asks for.
        ApprovalExpired: The question is over.
        ApprovalVoid: A file, a scenario or the policy is not what was approved.
        ArtifactMissing: A file is gone, or its bytes are not those that were registered.
        ChampionChanged: Another version became champion since the evidence was made.
        ReleaseChanged: Other versions would move than those that were shown and measured.
        Refused: A rule of the rotation says no; nothing was changed.
    """
    decision = decision_of(proposal.policy, proposal.requested_by, answers)
    match decision:
        case Choice.APPROVE:
            return _approve(registry, proposal, answers, token, today)
        case Choice.REJECT:
            return _reject(registry, proposal, next(a for a in answers if a.decision is decision))
        case None:
            raise ApprovalRequired(
                f"{proposal.model_name} version {proposal.version} needs "
                f"{proposal.policy.in_words()}; the answers of {actor_of(answers) or 'nobody'} are "
                "not that. Nothing was changed.",
                remedy=f"`guardianflow promote {proposal.model_name} --request` asks for them.",
                name=proposal.model_name,
                version=proposal.version,
            )
        case _:
            assert_never(decision)


def rejections(registry: ModelRegistryManager, plan: Plan, reason: str) -> tuple[str, ...]:
    """What was said when versions of a plan were rejected before, for the person who decides.

    Raises:
        VersionRejected: One was, and no reason was given to ask again.
    """
    said: list[str] = []
    for name, (_, version) in champion_moves(plan.moves).items():
        info = registry.get_version(name, version)
        if info.status != REJECTED:
            continue
        why = info.tags.get(REASON_TAG, "rejected, nobody said why")
        if len(reason.strip()) < 3:
            raise VersionRejected(
                one_stop(f"{name} version {version} was {why}."),
                remedy="Say what is different now: `guardianflow promote "
                f'{plan.model_name} --model-version {plan.version} --reason "..."`.',
                name=name,
                version=version,
            )
        told = {"model": name, "version": version, "rejection": why, "now": reason.strip()}
        said.append(recorded("rejected", **told))
    return tuple(said)


def require_may_override(
    rule: ApprovalRule, name: ModelName, requested_by: str, reason: str
) -> None:
    """Refuse an override without a reason or a person, or by one whom the policy does not let.

    Raises:
        InputError: There is no reason, or nobody says to have asked.
        ApprovalRequired: The policy names others.
    """
    if len(reason.strip()) < 3:
        raise InputError(
            f"An override of the gate of {name} needs a reason.",
            remedy='Say why: --force --reason "...".',
            name=name.public,
        )
    if not names_a_person(requested_by):
        raise InputError(
            f"An override of the gate of {name} needs a person, but it says to come from "
            f"{requested_by or 'nobody'}.",
            remedy="Say who asks: the parameter requested_by.",
            name=name.public,
        )
    if not may_override(rule, requested_by):
        raise ApprovalRequired(
            f"{requested_by} may not override the gate of {name}; the policy "
            f"names {', '.join(rule.overriders)}. Nothing was changed.",
            remedy="Let one of them ask, or train a version that passes. The names are in the "
            "block guardianflow-approval.",
            name=name.public,
            overriders=list(rule.overriders),
        )


def was_decided(registry: ModelRegistryManager, model_name: str, request: str) -> bool:
    """Whether a request has moved an alias."""
    token = str(RunToken(TokenKind.PROMOTION, request))
    return any(operation.token == token for operation in registry.history(model_name))


def expire(registry: ModelRegistryManager, versions: Mapping[str, int], why: str) -> None:
    """Note on versions that nobody decided about them; one with another status keeps it."""
    for name, version in versions.items():
        try:
            info = registry.get_version(name, version)
        except VersionNotReady:
            # Deleted meanwhile: there is nothing to note it on.
            continue
        if info.status in ("", EXPIRED) and ModelAlias.CHAMPION not in info.aliases:
            registry.set_version_tag(name, version, REASON_TAG, why[:MAX_TEXT])
            registry.set_version_tag(name, version, STATUS_TAG, EXPIRED)


def _reason_of(proposal: Proposal, answers: Sequence[Answer]) -> str:
    """Why, for the ledger; of an override first who let it be asked."""
    given = reason_of(answers)
    if not proposal.overridden:
        return given
    said = f"gate FAILED, overridden by {proposal.requested_by}: {proposal.reason}"
    return (said if given == proposal.reason else f"{said}; approved: {given}")[:MAX_TEXT]


def _check_binding(
    registry: ModelRegistryManager, proposal: Proposal, token: str, today: Today
) -> None:
    """Refuse unless all is as it was approved; but for an operation that was decided already."""
    name, now = proposal.model_name, datetime.now(UTC)
    rule = read_rule(registry.client, proposal.name)
    scenario, _, scenario_version = proposal.scenario.partition(" ")
    judged = today(scenario, scenario_version) if scenario else None
    changed = differences(registry, proposal.binding, rule, judged)
    if not changed and is_in_time(proposal, now):
        return
    if any(operation.token == token for operation in registry.history(name)):
        return
    require_in_time(proposal, now)
    raise ApprovalVoid(
        recorded_void(name, proposal.version, changed),
        remedy=f"Ask again: `guardianflow promote {name} --request`.",
        changed=changed,
    )


def _approve(
    registry: ModelRegistryManager,
    proposal: Proposal,
    answers: Sequence[Answer],
    token: str,
    today: Today,
) -> Decided:
    _check_binding(registry, proposal, token, today)
    operation = registry.promote_to_champion(
        proposal.model_name,
        proposal.version,
        expected_champion=proposal.expected_champion,
        expected_moves=champion_moves(proposal.moves),
        actor=actor_of(answers),
        reason=_reason_of(proposal, answers),
        token=token,
        evidence=f"{proposal.evidence_run_id}:{proposal.digest}:{proposal.binding.digest}",
        force=proposal.forced,
    )
    return Decided(operation, f"{operation.message} Approved by {actor_of(answers)}.")


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
        if info.status not in ("", REJECTED, EXPIRED) or ModelAlias.CHAMPION in info.aliases:
            continue
        text = f"rejected by {answer.who}: {sentence(answer.reason)}"
        registry.set_version_tag(subject.model_name, subject.version, REASON_TAG, text)
        registry.set_version_tag(subject.model_name, subject.version, STATUS_TAG, REJECTED)
    return Decided(
        None,
        one_stop(
            f"{proposal.model_name} version {proposal.version} was rejected by "
            f"{answer.who}: {sentence(answer.reason)}. No alias was moved."
        ),
    )


def _gate_failed(proposal: Proposal) -> GateFailed:
    name, run_id = proposal.model_name, proposal.evidence_run_id
    look = f"Look at the evidence (MLflow run {run_id}), train" if run_id else "Train"
    failed = GateFailed(
        f"The gate says no to {name} version {proposal.version}: {proposal.gate.summary()}.",
        remedy=f"{look} a better version, or override with --force and a reason.",
        evidence_run_id=run_id,
        name=name,
        version=proposal.version,
        gate=proposal.gate.model_dump(mode="json"),
    )
    failed.proposal = proposal
    return failed


def _check_requester(plan: Plan, inquiry: Inquiry) -> None:
    """Refuse a request that names nobody where its requester may not approve it."""
    if inquiry.rule.four_eyes and not names_a_person(inquiry.requested_by) and plan.moves:
        raise InputError(
            f"Who asked for {plan.model_name} may not approve it, but the request says to come "
            f"from {inquiry.requested_by or 'nobody'}.",
            remedy="Say who asks: the parameter requested_by, or `guardianflow promote "
            f"{plan.model_name} --request`.",
            name=plan.model_name,
        )
