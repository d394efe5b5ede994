"""The commands with which people answer what waits for them: pending, approve, reject."""

from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.opening import open_orchestrator
from guardianflow.cli.options import SHORTEST_REASON, ReasonOption
from guardianflow.cli.output import Output, OutputOption
from guardianflow.errors import AnswerInvalid, NothingWaiting

if TYPE_CHECKING:
    from guardianflow.prefect_api.control import Orchestrator, WaitingApproval


WaitingArgument = Annotated[
    str,
    typer.Argument(
        help="Flow run (name or id) or model name; not needed if only one promotion waits."
    ),
]
ApproverOption = Annotated[str, typer.Option(help="Your name.")]
CodeOption = Annotated[
    str, typer.Option(help="One-time code, if the approval policy asks for one.")
]
_SHORTEST_NAME = 2
_SHORTEST_ID = 4


def pending(*, out: OutputOption) -> None:
    """List the promotions that wait for an answer, and those that are still being measured.

    [bold]Example[/]

    guardianflow pending
    """
    orchestrator = open_orchestrator(out)
    waiting = orchestrator.pending()
    under_way = [] if out.as_json else orchestrator.under_way()
    if not waiting:
        yet = " yet" if under_way else ""
        out.say(f"no promotion waits for an answer{yet}")
    for one in under_way:
        # What was measured has a headline.
        doing = "is being carried out" if one.headline else "is being measured"
        out.remark(f"{_in_words(one)} {doing}, or waits for a worker: {one.url}")
    for w in waiting:
        out.say(f"{w.model_name} version {w.version}", style="bold")
        out.say(f"  {w.headline}")
        until = f", until {w.expires:%Y-%m-%d %H:%M} UTC" if w.expires else ""
        out.say(f"  since {w.since:%Y-%m-%d %H:%M} UTC{until}, flow run {w.flow_run_id}")
        out.say(f"  {w.url}")
    out.result([_waiting_json(w) for w in waiting])


def approve(
    run: WaitingArgument = "",
    approver: ApproverOption = "",
    reason: ReasonOption = "",
    code: CodeOption = "",
    *,
    out: OutputOption,
) -> None:
    """Approve a waiting promotion.

    [bold]Example[/]

    guardianflow approve --approver "Kim Minji" --reason "fewer missed masks"
    """
    _answer(out, run, "approve", approver, reason, code)


def reject(
    run: WaitingArgument = "",
    approver: ApproverOption = "",
    reason: ReasonOption = "",
    code: CodeOption = "",
    *,
    out: OutputOption,
) -> None:
    """Reject a waiting promotion; no alias moves.

    [bold]Example[/]

    guardianflow reject --approver "Kim Minji" --reason "gloves are missed at the press"
    """
    _answer(out, run, "reject", approver, reason, code)


def _answer(out: Output, run: str, decision: str, approver: str, reason: str, code: str) -> None:
    _check_answer("--approver", "who decides", approver.strip(), _SHORTEST_NAME)
    _check_answer("--reason", "why", reason.strip(), SHORTEST_REASON)
    orchestrator = open_orchestrator(out)
    chosen = _the_one(orchestrator, run)
    orchestrator.answer(
        chosen.flow_run_id, decision, approver.strip(), reason.strip(), code.strip()
    )
    out.say(
        f"answered {decision}: {chosen.model_name} version {chosen.version} "
        f"({chosen.flow_run_name}); the flow goes on at {chosen.url}"
    )
    out.result({"decision": decision, **_waiting_json(chosen)})


def _check_answer(option: str, what: str, given: str, least: int) -> None:
    """Refuse an answer without a usable name or reason, before any server is asked."""
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
        len(run) >= _SHORTEST_ID and asked.flow_run_id.startswith(run.lower())
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
                f"{_in_words(under_way[0])} is still being measured, or was answered already: it "
                "cannot be answered now.",
                remedy=f"Its progress: {under_way[0].url}; `guardianflow pending` shows when it "
                "waits for an answer.",
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


def find_asked(
    orchestrator: "Orchestrator", name: str, version: int | None
) -> "WaitingApproval | None":
    """The promotion that asks for this version already: one question is enough for people."""
    under_way = (*orchestrator.pending(), *orchestrator.under_way())
    return next((w for w in under_way if (w.model_name, w.version) == (name, version)), None)
