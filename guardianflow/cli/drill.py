"""The command that rehearses a rollback: drill."""

from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.opening import open_registry
from guardianflow.cli.output import JsonFlag, meter, print_result, print_table, remark, stdout
from guardianflow.errors import DrillFailed
from guardianflow.names import ModelName

if TYPE_CHECKING:
    from guardianflow.monitoring.drill_report import DrillReport


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("drill", rich_help_panel="Care")(drill)


def drill(
    name: Annotated[str, typer.Argument(help="Base or variant that would be rolled back.")],
    as_json: JsonFlag = False,
) -> None:
    """Prove that the way back works, and say how long a rollback would take; moves nothing.

    Every version that a rollback would bring back is fetched from the server, verified, loaded
    and shown a frame. What was found stays in the tag guardianflow.drill of the base model.

    [bold]Example[/]

    guardianflow drill donghwa-entec/busan-plant1/welding/ppe
    """
    public = ModelName.parse(name).public
    registry = open_registry(quiet=as_json)
    from guardianflow.monitoring.drill import drill as rehearse

    try:
        with meter(quiet=as_json) as show:
            report = rehearse(registry, public, on_progress=show)
    except DrillFailed as failed:
        if not as_json:
            _show(failed.report)
        raise
    if not as_json:
        _show(report)
        stdout.print(report.message, style="green", soft_wrap=True, markup=False)
    print_result(report.to_json(), as_json=as_json)


def _show(report: "DrillReport") -> None:
    """The steps with their times, and what a person should know beside them."""
    print_table(
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
    for warning in report.warnings:
        remark(f"  note: {warning}", style="yellow")
