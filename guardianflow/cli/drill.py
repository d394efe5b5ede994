"""The command that rehearses a rollback: drill."""

from typing import TYPE_CHECKING, Annotated

from guardianflow.cli.opening import open_registry
from guardianflow.cli.options import model_argument
from guardianflow.cli.output import Output, OutputOption
from guardianflow.names import ModelName

if TYPE_CHECKING:
    from guardianflow.monitoring.drill_report import DrillReport


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
    _show(out, report)
    report.require_success()
    out.say(report.message, style="green")
    out.result(report.model_dump(mode="json"))


def _show(out: Output, report: "DrillReport") -> None:
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
    for warning in report.warnings:
        out.remark(f"  note: {warning}", style="yellow")
