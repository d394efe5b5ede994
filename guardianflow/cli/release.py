"""The commands that move aliases, by hand or by asking a person: promote and roll back."""

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.approvals import (
    SHORTEST_REASON,
    ReasonOption,
    approve,
    find_asked,
    pending,
    reject,
)
from guardianflow.cli.opening import open_orchestrator, open_registry, warn_of_waiting
from guardianflow.cli.output import (
    JsonFlag,
    YesFlag,
    actor,
    at_terminal,
    confirmed,
    meter,
    print_gate,
    print_result,
    print_table,
    remark,
    stdout,
)
from guardianflow.errors import GateFailed, InputError
from guardianflow.names import ModelName
from guardianflow.prefect_api.prefect_yaml import PROMOTION

if TYPE_CHECKING:
    from guardianflow.promotion.proposal import Proposal
    from guardianflow.registry import ModelRegistryManager, Move, Plan


NameArgument = Annotated[
    str, typer.Argument(help="customer/region-plant/zone/task, with or without __openvino_int8.")
]
_VersionOption = Annotated[
    int | None, typer.Option(help="The version to promote; without it @candidate.", min=1)
]
_DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Measure, judge and show it; write nothing.")
]
_RequestFlag = Annotated[
    bool, typer.Option("--request", help="Ask a person in the Prefect UI instead.")
]
_ForceFlag = Annotated[
    bool, typer.Option("--force", help="Against gate, quarantine or hold; needs --reason.")
]
_OnlyFlag = Annotated[
    bool, typer.Option("--only", help="This name alone, not the release that it belongs to.")
]
_ExpectedOption = Annotated[
    int | None, typer.Option(help="For machines: do it only if this version is champion.", min=1)
]
_REASON_CHARACTERS = (SHORTEST_REASON, 500)


def add_commands(app: typer.Typer) -> None:
    """Add these commands, and between them those with which people answer."""
    for name, command in (
        ("promote", promote),
        ("pending", pending),
        ("approve", approve),
        ("reject", reject),
        ("rollback", rollback),
    ):
        app.command(name, rich_help_panel="Daily")(command)


def promote(
    name: NameArgument,
    model_version: _VersionOption = None,
    reason: ReasonOption = "",
    yes: YesFlag = False,
    dry_run: _DryRunFlag = False,
    request: _RequestFlag = False,
    force: _ForceFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the evidence and what will move, ask at a terminal, make it @champion.

    Where the gate says FAILED nobody is asked (exit code 3), but for --force with a reason by one
    whom the approval policy lets. --dry-run ends with the same code and writes nothing.

    [bold]Examples[/]

    guardianflow promote donghwa-entec/busan-plant1/welding/ppe

    guardianflow promote donghwa-entec/busan-plant1/welding/ppe --request --reason "new helmets"

    guardianflow promote donghwa-entec/busan-plant1/welding/ppe --model-version 7 --dry-run
    """
    public = ModelName.parse(name).public
    if force:
        _require_reason(reason, "--force needs a --reason.")
    _check_reason(reason)
    if request:
        _request(public, model_version, reason, force=force, as_json=as_json)
        return
    registry = open_registry(quiet=as_json)
    if not dry_run:
        # Before anything is measured.
        _require_right(registry, public)
    token = f"cli-{uuid.uuid4()}"
    proposal = _propose(
        registry,
        public,
        model_version,
        reason,
        token,
        force=force,
        keep=not dry_run,
        as_json=as_json,
    )
    if proposal.changes_nothing or dry_run:
        outcome = "nothing to do" if proposal.changes_nothing else "dry run, nothing was changed"
        _say_outcome(proposal, f"{public} version {proposal.version}: {outcome}", as_json=as_json)
        return
    if not confirmed(f"Promote {public} version {proposal.version}?", yes=yes or as_json):
        remark("nothing was changed")
        return
    _carry_out(registry, proposal, reason, token, as_json=as_json)


def _require_right(registry: "ModelRegistryManager", name: str) -> None:
    """Refuse where more than the name of an account is asked of who promotes this model."""
    from guardianflow.promotion.approval.stored_rules import read_rule, require_a_command_may

    require_a_command_may(read_rule(registry.client, ModelName.parse(name)), name)


def _propose(
    registry: "ModelRegistryManager",
    name: str,
    model_version: int | None,
    reason: str,
    token: str,
    *,
    force: bool,
    keep: bool,
    as_json: bool,
) -> "Proposal":
    """Measure, judge, and show the evidence, also where the gate says no.

    Raises:
        GateFailed: It does.
    """
    from guardianflow.promotion import propose
    from guardianflow.promotion.proposal import Proposal
    from guardianflow.scenario.file import today_in_files

    try:
        with meter(quiet=as_json) as show:
            proposal = propose(
                registry,
                name,
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
        if not as_json and isinstance(failed.proposal, Proposal):
            _show_proposal(failed.proposal)
        raise
    if not as_json:
        _show_proposal(proposal)
    return proposal


def _carry_out(
    registry: "ModelRegistryManager",
    proposal: "Proposal",
    reason: str,
    token: str,
    *,
    as_json: bool,
) -> None:
    """Record the command as the approval that it is, and rotate."""
    from guardianflow.promotion import decide
    from guardianflow.promotion.approval import Answer, Choice, Identity
    from guardianflow.scenario.file import today_in_files

    answer = Answer(
        decision=Choice.APPROVE,
        approver=actor(),
        reason=reason or "promoted on the command line",
        identity=Identity.ACCOUNT,
    )
    decided = decide(registry, proposal, [answer], token=token, today=today_in_files)
    changed = decided.operation is not None and decided.operation.changed
    _say_outcome(proposal, decided.message, changed=changed, as_json=as_json)


def _say_outcome(
    proposal: "Proposal", message: str, *, as_json: bool, changed: bool = False
) -> None:
    if not as_json:
        stdout.print(message, style="green" if changed else None, soft_wrap=True, markup=False)
    print_result(
        {"changed": changed, "message": message, "proposal": proposal.model_dump(mode="json")},
        as_json=as_json,
    )


def _require_reason(reason: str, why: str) -> None:
    if len(reason.strip()) < SHORTEST_REASON:
        raise InputError(why, remedy='Say why: --reason "..."')


def _check_reason(reason: str) -> None:
    """Refuse a reason that no record would take, before anything is measured."""
    least, most = _REASON_CHARACTERS
    if reason.strip() and not least <= len(reason.strip()) <= most:
        raise InputError(
            f"The reason {reason[:40]!r} has {len(reason.strip())} characters.",
            remedy=f"Write {least} to {most} characters, or leave it out.",
        )


def _request(
    name: str, model_version: int | None, reason: str, *, force: bool, as_json: bool
) -> None:
    orchestrator = open_orchestrator(quiet=as_json)
    # Which version @candidate means is settled now: the person is asked about what was meant.
    registry = open_registry(quiet=True)
    from guardianflow.promotion import rejections, require_may_override
    from guardianflow.promotion.approval.stored_rules import read_rule

    if force:
        rule = read_rule(registry.client, ModelName.parse(name))
        require_may_override(rule, name, actor(), reason)
    plan = registry.plan_promotion(name, model_version, force=force)
    if not plan.moves:
        _say_nothing_to_do(plan, as_json=as_json)
        return
    rejections(registry, plan, reason)
    if not force and (waiting := find_asked(orchestrator, name, plan.version)):
        if not as_json:
            said = f"flow run {waiting.flow_run_name} asks for it already"
            stdout.print(said, soft_wrap=True, markup=False)
        _print_asked(waiting.flow_run_name, waiting.flow_run_id, waiting.url, as_json=as_json)
        return
    started = orchestrator.submit(
        PROMOTION,
        {
            "model_name": name,
            "model_version": plan.version,
            "requested_by": actor(),
            "reason": reason,
            **({"force": True} if force else {}),
        },
    )
    if not as_json:
        said = f"asked: flow run {started.name} will wait for an answer"
        stdout.print(said, soft_wrap=True, markup=False)
        warn_of_waiting(orchestrator, PROMOTION)
    _print_asked(started.name, started.id, started.url, as_json=as_json)


def _print_asked(flow_run: str, run_id: str, url: str, *, as_json: bool) -> None:
    if not as_json:
        remark(f"answer it at {url} or with `guardianflow approve`")
    print_result({"flow_run": flow_run, "id": run_id, "url": url}, as_json=as_json)


def _show_proposal(proposal: "Proposal") -> None:
    # It holds names of classes, which may look like rich's markup.
    stdout.print(proposal.headline, style="bold", soft_wrap=True, markup=False)
    show_moves(f"{proposal.model_name} version {proposal.version}", proposal.moves)
    print_gate(proposal.gate)
    for warning in proposal.warnings:
        remark(f"  note: {warning}", style="yellow")
    if proposal.evidence_run_id:
        remark(f"  evidence: MLflow run {proposal.evidence_run_id} (guardianflow.promotions)")


def show_moves(title: str, moves: "Sequence[Move]") -> None:
    """What moves, or has moved, from which version to which."""
    rows = [(f"@{move.alias}", move.name, move.before, move.after) for move in moves]
    if rows:
        print_table(title, ("alias", "model", "from", "to"), rows)


def rollback(
    name: NameArgument,
    reason: ReasonOption = "",
    yes: YesFlag = False,
    only: _OnlyFlag = False,
    expected_champion: _ExpectedOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Go back to the last-known-good release; shows what moves and asks at a terminal.

    [bold]Example[/]

    guardianflow rollback donghwa-entec/busan-plant1/welding/ppe --reason "misses at night"

    In a script the same command again within a quarter of an hour is taken for a repetition and
    changes nothing; --expected-champion goes further back.
    """
    public = ModelName.parse(name).public
    if only:
        _require_reason(reason, "--only takes one name out of its release; that needs a --reason.")
    registry = open_registry(quiet=as_json)
    plan = registry.plan_rollback(public, only=only, actor=actor())
    if not as_json:
        show_moves(f"roll back {public}", plan.moves)
        for warning in plan.warnings:
            remark(f"  note: {warning}", style="yellow")
    asked = not (yes or as_json) and at_terminal()
    repeated = plan.repeats is not None and expected_champion is None and not asked
    if repeated or not plan.moves:
        _say_nothing_to_do(plan, as_json=as_json)
        return
    if not confirmed(f"Roll back {public}?", yes=yes or as_json):
        remark("nothing was changed")
        return
    operation = registry.rollback(
        public,
        expected_champion=expected_champion or plan.champion.get(public),
        actor=actor(),
        reason=reason or "rolled back on the command line",
        token=f"cli-{uuid.uuid4()}",
        only=only,
    )
    if not as_json:
        stdout.print(operation.message, style="green", soft_wrap=True, markup=False)
    print_result(operation.to_json(), as_json=as_json)


def _say_nothing_to_do(plan: "Plan", *, as_json: bool) -> None:
    """Asked for again, it may be the request whose answer was lost: nobody wants it twice."""
    message = f"{plan.model_name}: nothing to do"
    if plan.repeats is not None:
        message += (
            f", operation {plan.repeats} rolled it back a short time ago; to go further back name "
            f"the champion of now: --expected-champion {plan.champion[plan.model_name]}"
        )
    if not as_json:
        stdout.print(message, soft_wrap=True, markup=False)
    print_result({"changed": False, "message": message, "warnings": plan.warnings}, as_json=as_json)
