"""`guardianflow promote`: make a version @champion, or ask a person to."""

import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.approvals import find_asked
from guardianflow.cli.opening import open_orchestrator, open_registry, warn_of_waiting
from guardianflow.cli.options import (
    SHORTEST_REASON,
    NameArgument,
    ReasonOption,
    YesFlag,
    require_reason,
)
from guardianflow.cli.output import Output, OutputOption, actor
from guardianflow.cli.rollback import say_nothing_to_do
from guardianflow.errors import GateFailed, InputError
from guardianflow.names import ModelName
from guardianflow.prefect_api.prefect_yaml import PROMOTION
from guardianflow.scenario.file import today_in_files

if TYPE_CHECKING:
    from guardianflow.promotion.proposal import Proposal
    from guardianflow.registry import ModelRegistryManager


_VersionOption = Annotated[
    int | None, typer.Option(help="Version to promote (default: @candidate).", min=1)
]
_DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Measure, judge and show the result; write nothing.")
]
_RequestFlag = Annotated[
    bool, typer.Option("--request", help="Ask a person in the Prefect UI instead.")
]
_ForceFlag = Annotated[
    bool, typer.Option("--force", help="Override the gate, a quarantine or a hold; needs --reason.")
]
_REASON_CHARACTERS = (SHORTEST_REASON, 500)


def promote(
    name: NameArgument,
    model_version: _VersionOption = None,
    reason: ReasonOption = "",
    yes: YesFlag = False,
    dry_run: _DryRunFlag = False,
    request: _RequestFlag = False,
    force: _ForceFlag = False,
    *,
    out: OutputOption,
) -> None:
    """Show the evidence, ask for confirmation, and make a version @champion.

    If the gate says FAILED, nothing moves and the exit code is 3. --force with a --reason overrides
    it, if the approval policy allows you to. --dry-run ends with the same exit code.

    [bold]Examples[/]

    guardianflow promote donghwa-entec/busan-plant1/welding/ppe

    guardianflow promote donghwa-entec/busan-plant1/welding/ppe --request --reason "new helmets"

    guardianflow promote donghwa-entec/busan-plant1/welding/ppe --model-version 7 --dry-run
    """
    if force:
        require_reason(reason, "--force needs a --reason.")
    _check_reason(reason)
    if request:
        _request(out, name, model_version, reason, force=force)
        return
    registry = open_registry(out)
    token = f"cli-{uuid.uuid4()}"
    proposal = _propose(
        out, registry, name, model_version, reason, token, force=force, keep=not dry_run
    )
    if proposal.changes_nothing or dry_run:
        outcome = "nothing to do" if proposal.changes_nothing else "dry run, nothing was changed"
        _say_outcome(out, proposal, f"{name} version {proposal.version}: {outcome}")
        return
    if not out.confirmed(f"Promote {name} version {proposal.version}?", yes=yes):
        out.remark("nothing was changed")
        return
    _carry_out(out, registry, proposal, reason, token)


def _propose(
    out: Output,
    registry: "ModelRegistryManager",
    name: ModelName,
    model_version: int | None,
    reason: str,
    token: str,
    *,
    force: bool,
    keep: bool,
) -> "Proposal":
    """Measure, judge, and show the evidence, also where the gate says no and this is refused."""
    from guardianflow.promotion import propose
    from guardianflow.promotion.approval.stored_rules import read_rule, require_a_command_may

    if keep:
        # Before anything is measured.
        require_a_command_may(read_rule(registry.client, name), name)
    try:
        with out.meter() as show:
            proposal = propose(
                registry,
                name.public,
                model_version,
                token=token,
                requested_by=actor(),
                reason=reason,
                force=force,
                keep=keep,
                today=today_in_files,
                on_progress=show,
            )
    except GateFailed as failed:
        if failed.proposal:
            _show_proposal(out, failed.proposal)
        raise
    _show_proposal(out, proposal)
    return proposal


def _carry_out(
    out: Output, registry: "ModelRegistryManager", proposal: "Proposal", reason: str, token: str
) -> None:
    """Record the command as the approval that it is, and rotate."""
    from guardianflow.promotion import decide
    from guardianflow.promotion.approval.policy import Answer, Choice, Identity

    answer = Answer(
        decision=Choice.APPROVE,
        approver=actor(),
        reason=reason or "promoted on the command line",
        identity=Identity.ACCOUNT,
    )
    decided = decide(registry, proposal, [answer], token=token, today=today_in_files)
    changed = decided.operation is not None and decided.operation.changed
    _say_outcome(out, proposal, decided.message, changed=changed)


def _say_outcome(out: Output, proposal: "Proposal", message: str, *, changed: bool = False) -> None:
    out.say(message, style="green" if changed else None)
    out.result(
        {"changed": changed, "message": message, "proposal": proposal.model_dump(mode="json")}
    )


def _check_reason(reason: str) -> None:
    """Refuse a reason that no record would take, before anything is measured."""
    least, most = _REASON_CHARACTERS
    if reason.strip() and not least <= len(reason.strip()) <= most:
        raise InputError(
            f"The reason {reason[:40]!r} has {len(reason.strip())} characters.",
            remedy=f"Write {least} to {most} characters, or leave it out.",
        )


def _request(
    out: Output, name: ModelName, model_version: int | None, reason: str, *, force: bool
) -> None:
    orchestrator = open_orchestrator(out)
    # Which version @candidate means is settled now: the person is asked about what was meant.
    registry = open_registry()
    from guardianflow.promotion import rejections, require_may_override
    from guardianflow.promotion.approval.stored_rules import read_rule

    if force:
        require_may_override(read_rule(registry.client, name), name, actor(), reason)
    plan = registry.plan_promotion(name, model_version, force=force)
    if not plan.moves:
        say_nothing_to_do(out, plan)
        return
    rejections(registry, plan, reason)
    if not force and (waiting := find_asked(orchestrator, name.public, plan.version)):
        out.say(f"flow run {waiting.flow_run_name} already asks for this version")
        _print_asked(out, waiting.flow_run_name, waiting.flow_run_id, waiting.url)
        return
    started = orchestrator.submit(
        PROMOTION,
        {
            "model_name": name.public,
            "model_version": plan.version,
            "requested_by": actor(),
            "reason": reason,
            **({"force": True} if force else {}),
        },
    )
    out.say(f"asked: flow run {started.name} will wait for an answer")
    warn_of_waiting(out, orchestrator, PROMOTION)
    _print_asked(out, started.name, started.id, started.url)


def _print_asked(out: Output, flow_run: str, run_id: str, url: str) -> None:
    out.remark(f"answer it at {url} or with `guardianflow approve`")
    out.result({"flow_run": flow_run, "id": run_id, "url": url})


def _show_proposal(out: Output, proposal: "Proposal") -> None:
    # What is champion already was neither measured nor judged.
    if not proposal.changes_nothing:
        out.say(proposal.headline, style="bold")
        out.moves(f"{proposal.model_name} version {proposal.version}", proposal.moves)
        out.gate(proposal.gate)
    out.notes(proposal.warnings)
    if proposal.evidence_run_id:
        out.remark(f"  evidence: MLflow run {proposal.evidence_run_id} (guardianflow.promotions)")
