"""The commands `rollback`, back to the last-known-good release, and `drill`, which rehearses it."""

import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.opening import open_registry
from guardianflow.cli.options import (
    NameArgument,
    ReasonOption,
    YesFlag,
    model_argument,
    require_reason,
)
from guardianflow.cli.output import Output, OutputOption, actor
from guardianflow.names import ModelName

if TYPE_CHECKING:
    from guardianflow.monitoring.drill_report import DrillReport
    from guardianflow.registry import Plan

_OnlyFlag = Annotated[
    bool, typer.Option("--only", help="Only this name, not the rest of its release.")
]
_ExpectedOption = Annotated[
    int | None,
    typer.Option(help="For scripts: roll back only if this version is @champion.", min=1),
]


def rollback(
    name: NameArgument,
    reason: ReasonOption = "",
    yes: YesFlag = False,
    only: _OnlyFlag = False,
    expected_champion: _ExpectedOption = None,
    *,
    out: OutputOption,
) -> None:
    """Show what would move, ask for confirmation, and go back to the last known good release.

    [bold]Example[/]

    guardianflow rollback donghwa-entec/busan-plant1/welding/ppe --reason "misses at night"

    In a script, the same command within 15 minutes counts as a repetition and changes nothing.
    --expected-champion goes further back.
    """
    if only:
        require_reason(reason, "--only separates one name from its release and needs a --reason.")
    registry = open_registry(out)
    plan = registry.plan_rollback(name, only=only, actor=actor())
    out.moves(f"roll back {name}", plan.moves)
    out.notes(plan.warnings)
    asked = out.asks(yes=yes)
    repeated = plan.repeats is not None and expected_champion is None and not asked
    if repeated or not plan.moves:
        say_nothing_to_do(out, plan)
        return
    if not out.confirmed(f"Roll back {name}?", yes=yes):
        out.remark("nothing was changed")
        return
    operation = registry.rollback(
        name,
        expected_champion=expected_champion or plan.champion.get(name.public),
        actor=actor(),
        reason=reason or "rolled back on the command line",
        token=f"cli-{uuid.uuid4()}",
        only=only,
    )
    out.say(operation.message, style="green")
    out.result(operation.to_json())


def say_nothing_to_do(out: Output, plan: "Plan") -> None:
    """Asked for again, it may be the request whose answer was lost: nobody wants it twice."""
    message = f"{plan.model_name}: nothing to do"
    if plan.repeats is not None:
        message += (
            f", operation {plan.repeats} rolled it back a moment ago; to go further back, name "
            f"the current champion: --expected-champion {plan.champion[plan.model_name]}"
        )
    out.say(message)
    out.result({"changed": False, "message": message, "warnings": plan.warnings})


def drill(
    name: Annotated[ModelName, model_argument("Model to rehearse a rollback of.")],
    *,
    out: OutputOption,
) -> None:
    """Rehearse a rollback, and say how long it would take; no alias moves.

    Downloads, verifies and loads every version that a rollback would bring back, and runs it on
    one frame. Keeps the result in the tag guardianflow.drill of the base model.

    [bold]Example[/]

    guardianflow drill donghwa-entec/busan-plant1/welding/ppe
    """
    registry = open_registry(out)
    from guardianflow.monitoring.drill import drill as rehearse

    with out.meter() as show:
        report = rehearse(registry, name, on_progress=show)
    _show_drill(out, report)
    report.require_success()
    out.say(report.message, style="green")
    out.result(report.model_dump(mode="json"))


def _show_drill(out: Output, report: "DrillReport") -> None:
    """The steps with their times, and the warnings."""
    out.table(
        f"Drill of {report.model_name}, {report.time:%Y-%m-%d %H:%M} UTC",
        ("step", "model", "version", "seconds", "found"),
        [
            (
                step.step,
                step.name,
                step.version,
                f"{step.seconds:.2f}",
                step.found if step.ok else f"FAILED: {step.problem}",
            )
            for step in report.steps
        ],
    )
    out.notes(report.warnings)
