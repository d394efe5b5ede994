"""The commands that move aliases, by hand or by asking a person: promote, approve, roll back."""

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.connection import open_orchestrator, open_registry, warn_of_waiting
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
    say,
    stdout,
)
from guardianflow.errors import AnswerInvalid, GateFailed, InputError, NothingWaiting
from guardianflow.names import ModelName
from guardianflow.orchestration.machinery import PROMOTION

if TYPE_CHECKING:
    from guardianflow.orchestration.control import Orchestrator, WaitingApproval
    from guardianflow.promotion.proposal import Proposal
    from guardianflow.registry import ModelRegistryManager, Move, Plan


NameArgument = Annotated[
    str, typer.Argument(help="customer/region-plant/zone/task, with or without __openvino_int8.")
]
WaitingArgument = Annotated[str, typer.Argument(help="Flow run (name or id) or model name.")]
_SHORTEST_NAME = 2
_SHORTEST_REASON = 3
ApproverOption = Annotated[str, typer.Option(help="Who decides.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it stays in the history.")]
CodeOption = Annotated[
    str, typer.Option(help="The one-time code, where the approval policy asks for one.")
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
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
    model_version: Annotated[
        int | None, typer.Option(help="The version to promote; without it @candidate.", min=1)
    ] = None,
    reason: ReasonOption = "",
    yes: YesFlag = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure, judge and show it; write nothing.")
    ] = False,
    request: Annotated[
        bool, typer.Option("--request", help="Ask a person in the Prefect UI instead.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Against gate, quarantine or hold; needs --reason."),
    ] = False,
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
    if force and len(reason.strip()) < 3:
        raise InputError("--force needs a --reason.", remedy='Say why: --reason "..."')
    _check_reason(reason)
    if request:
        _request(public, model_version, reason, force=force, as_json=as_json)
        return
    registry = open_registry(quiet=as_json)
    from guardianflow.approval.rules import read_rule, require_a_command_may
    from guardianflow.promotion import propose
    from guardianflow.promotion.proposal import Proposal
    from guardianflow.scenario.file import today_in_files

    if not dry_run:
        # Before anything is measured.
        require_a_command_may(read_rule(registry.client, ModelName.parse(public)), public)
    token = f"cli-{uuid.uuid4()}"
    try:
        with meter(quiet=as_json) as show:
            proposal = propose(
                registry,
                public,
                model_version,
                token=token,
                requested_by=actor(),
                reason=reason,
                force=force,
                keep=not dry_run,
                today=today_in_files,
                on_progress=show,
            )
    except GateFailed as failed:
        if not as_json and isinstance(failed.proposal, Proposal):
            _show_proposal(failed.proposal)
        raise
    if not as_json:
        _show_proposal(proposal)
    if proposal.changes_nothing or dry_run:
        outcome = "nothing to do" if proposal.changes_nothing else "dry run, nothing was changed"
        _say_outcome(proposal, f"{public} version {proposal.version}: {outcome}", as_json=as_json)
        return
    if not confirmed(f"Promote {public} version {proposal.version}?", yes=yes or as_json):
        say("nothing was changed")
        return
    _carry_out(registry, proposal, reason, token, as_json=as_json)


def _carry_out(
    registry: "ModelRegistryManager",
    proposal: "Proposal",
    reason: str,
    token: str,
    *,
    as_json: bool,
) -> None:
    """Record the command as the approval that it is, and rotate."""
    from guardianflow.approval import Answer, Choice, Identity
    from guardianflow.promotion import decide
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


def _check_reason(reason: str) -> None:
    """Refuse a reason that no record would take, before anything is measured."""
    if reason.strip() and not 3 <= len(reason.strip()) <= 500:
        raise InputError(
            f"The reason {reason[:40]!r} has {len(reason.strip())} characters.",
            remedy="Write 3 to 500 characters, or leave it out.",
        )


def _request(
    name: str, model_version: int | None, reason: str, *, force: bool, as_json: bool
) -> None:
    orchestrator = open_orchestrator(quiet=as_json)
    # Which version @candidate means is settled now: the person is asked about what was meant.
    registry = open_registry(quiet=True)
    from guardianflow.approval.rules import read_rule
    from guardianflow.promotion import rejections, require_may_override

    if force:
        rule = read_rule(registry.client, ModelName.parse(name))
        require_may_override(rule, name, actor(), reason)
    plan = registry.plan_promotion(name, model_version, force=force)
    if not plan.moves:
        _say_nothing_to_do(plan, as_json=as_json)
        return
    rejections(registry, plan, reason)
    if not force and (waiting := _waiting(orchestrator, name, plan.version)):
        if not as_json:
            stdout.print(f"flow run {waiting.flow_run_name} asks for it already", soft_wrap=True)
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
        stdout.print(f"asked: flow run {started.name} will wait for an answer", soft_wrap=True)
        warn_of_waiting(orchestrator, PROMOTION)
    _print_asked(started.name, started.id, started.url, as_json=as_json)


def _waiting(
    orchestrator: "Orchestrator", name: str, version: int | None
) -> "WaitingApproval | None":
    """The question that is open about this version: one is enough for people."""
    under_way = (*orchestrator.pending(), *orchestrator.under_way())
    return next((w for w in under_way if (w.model_name, w.version) == (name, version)), None)


def _print_asked(flow_run: str, run_id: str, url: str, *, as_json: bool) -> None:
    if not as_json:
        say(f"answer it at {url} or with `guardianflow approve`")
    print_result({"flow_run": flow_run, "id": run_id, "url": url}, as_json=as_json)


def _show_proposal(proposal: "Proposal") -> None:
    stdout.print(f"[bold]{proposal.headline}[/]", soft_wrap=True)
    show_moves(f"{proposal.model_name} version {proposal.version}", proposal.moves)
    print_gate(proposal.gate)
    for warning in proposal.warnings:
        say(f"  note: {warning}", style="yellow")
    if proposal.evidence_run_id:
        say(f"  evidence: MLflow run {proposal.evidence_run_id} (guardianflow.promotions)")


def show_moves(title: str, moves: "Sequence[Move]") -> None:
    """What moves, or has moved, from which version to which."""
    rows = [(f"@{move.alias}", move.name, move.before, move.after) for move in moves]
    if rows:
        print_table(title, ("alias", "model", "from", "to"), rows)


def pending(as_json: JsonFlag = False) -> None:
    """List the promotions that wait for a person, and say which are still being measured."""
    orchestrator = open_orchestrator(quiet=as_json)
    waiting = orchestrator.pending()
    if not as_json:
        under_way = orchestrator.under_way()
        if not waiting:
            yet = ", yet" if under_way else ""
            stdout.print(f"nothing waits for an approval{yet}")
        for one in under_way:
            # What was measured has a headline.
            doing = "is being carried out" if one.headline else "is being measured"
            say(f"{_in_words(one)} {doing}, or waits for a worker: {one.url}")
        for w in waiting:
            stdout.print(f"[bold]{w.model_name} version {w.version}[/]", soft_wrap=True)
            stdout.print(f"  {w.headline}", soft_wrap=True, markup=False)
            until = f", until {w.expires:%Y-%m-%d %H:%M} UTC" if w.expires else ""
            stdout.print(f"  since {w.since:%Y-%m-%d %H:%M} UTC{until}, flow run {w.flow_run_id}")
            stdout.print(f"  {w.url}", soft_wrap=True)
    print_result([_waiting_json(w) for w in waiting], as_json=as_json)


def approve(
    run: WaitingArgument = "",
    approver: ApproverOption = "",
    reason: ReasonOption = "",
    code: CodeOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Approve a waiting promotion; without a name the only one that waits.

    [bold]Example[/]

    guardianflow approve --approver "Kim Minji" --reason "fewer missed masks"
    """
    _answer(run, "approve", approver, reason, code, as_json=as_json)


def reject(
    run: WaitingArgument = "",
    approver: ApproverOption = "",
    reason: ReasonOption = "",
    code: CodeOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Reject a waiting promotion; every alias stays as it is.

    [bold]Example[/]

    guardianflow reject --approver "Kim Minji" --reason "gloves are missed at the press"
    """
    _answer(run, "reject", approver, reason, code, as_json=as_json)


def _answer(
    run: str, decision: str, approver: str, reason: str, code: str, *, as_json: bool
) -> None:
    _check_answer("--approver", "who decides", approver.strip(), _SHORTEST_NAME)
    _check_answer("--reason", "why", reason.strip(), _SHORTEST_REASON)
    orchestrator = open_orchestrator(quiet=as_json)
    chosen = _the_one(orchestrator, run)
    orchestrator.answer(
        chosen.flow_run_id, decision, approver.strip(), reason.strip(), code.strip()
    )
    if not as_json:
        stdout.print(
            f"answered {decision}: {chosen.model_name} version {chosen.version} "
            f"({chosen.flow_run_name}); the flow goes on at {chosen.url}",
            soft_wrap=True,
        )
    print_result({"decision": decision, **_waiting_json(chosen)}, as_json=as_json)


def _check_answer(option: str, what: str, given: str, least: int) -> None:
    """Refuse an answer that nobody could make sense of later, before anything is asked.

    Raises:
        AnswerInvalid: It is missing, or too short.
    """
    if len(given) >= least:
        return
    wrong = f"{given!r} is too short" if given else f"{option} is missing"
    raise AnswerInvalid(
        f"An answer needs {what}: {wrong}.",
        remedy=f'Give at least {least} characters: {option} "...".',
        option=option,
        value=given,
    )


def _in_words(asked: "WaitingApproval") -> str:
    return f"{asked.model_name} version {asked.version}" if asked.version else asked.model_name


def _is_meant(asked: "WaitingApproval", run: str) -> bool:
    """Whether a name means a promotion: by id, its beginning, flow run name or model name."""
    return run in ("", asked.flow_run_name, asked.model_name) or (
        len(run) >= 4 and asked.flow_run_id.startswith(run.lower())
    )


def _the_one(orchestrator: "Orchestrator", run: str) -> "WaitingApproval":
    """The waiting approval that is meant."""
    matching = [one for one in orchestrator.pending() if _is_meant(one, run)]
    if len(matching) == 1:
        return matching[0]
    which = f" under {run!r}" if run else ""
    if not matching:
        if under_way := [one for one in orchestrator.under_way() if _is_meant(one, run)]:
            raise NothingWaiting(
                f"{_in_words(under_way[0])} is still being measured, or was answered: nobody can "
                "answer now.",
                remedy=f"How far it is: {under_way[0].url}; `guardianflow pending` says when "
                "people are asked.",
                runs=[one.flow_run_id for one in under_way],
            )
        raise NothingWaiting(
            f"No promotion waits for an answer{which}.",
            remedy="`guardianflow pending` lists those that do; "
            "`guardianflow promote NAME --request` asks for one.",
        )
    raise NothingWaiting(
        f"{len(matching)} promotions wait for an answer{which}.",
        remedy="Name one: " + ", ".join(w.flow_run_id for w in matching),
        runs=[w.flow_run_id for w in matching],
    )


def _waiting_json(waiting: "WaitingApproval") -> dict[str, object]:
    return {
        "flow_run": waiting.flow_run_name,
        "id": str(waiting.flow_run_id),
        "model_name": waiting.model_name,
        "version": waiting.version,
        "headline": waiting.headline,
        "since": waiting.since,
        "expires": waiting.expires,
        "url": waiting.url,
    }


def rollback(
    name: NameArgument,
    reason: ReasonOption = "",
    yes: YesFlag = False,
    only: Annotated[
        bool, typer.Option("--only", help="This name alone, not the release that it belongs to.")
    ] = False,
    expected_champion: Annotated[
        int | None,
        typer.Option(help="For machines: do it only if this version is champion.", min=1),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Go back to the last-known-good release; shows what moves and asks at a terminal.

    [bold]Example[/]

    guardianflow rollback donghwa-entec/busan-plant1/welding/ppe --reason "misses at night"

    In a script the same command again within a quarter of an hour is taken for a repetition and
    changes nothing; --expected-champion goes further back.
    """
    public = ModelName.parse(name).public
    if only and len(reason.strip()) < 3:
        raise InputError(
            "--only takes one name out of its release; that needs a --reason.",
            remedy='Say why: --reason "..."',
        )
    registry = open_registry(quiet=as_json)
    plan = registry.plan_rollback(public, only=only, actor=actor())
    if not as_json:
        show_moves(f"roll back {public}", plan.moves)
        for warning in plan.warnings:
            say(f"  note: {warning}", style="yellow")
    asked = not (yes or as_json) and at_terminal()
    repeated = plan.repeats is not None and expected_champion is None and not asked
    if repeated or not plan.moves:
        _say_nothing_to_do(plan, as_json=as_json)
        return
    if not confirmed(f"Roll back {public}?", yes=yes or as_json):
        say("nothing was changed")
        raise typer.Exit(0)
    expected = expected_champion or plan.champion.get(public)
    operation = registry.rollback(
        public,
        expected_champion=expected,
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
