"""Assembles the commands and turns every way of failing into one paragraph and an exit code.

Exit codes: 0 done or nothing to do, 1 a defect of ours, 2 bad input or usage, 3 refused by a rule,
4 a server is unreachable or a disk is full, 130 interrupted.
"""

import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from guardianflow import __version__
from guardianflow.cli import approver, dataset, health, scenario, trainer, weights
from guardianflow.cli.approvals import approve, pending, reject
from guardianflow.cli.dataset_write import convert, split
from guardianflow.cli.doctor import doctor, repair
from guardianflow.cli.export_errors import export_errors
from guardianflow.cli.importing import import_model
from guardianflow.cli.measure import compare, measure
from guardianflow.cli.output import Output, OutputOption
from guardianflow.cli.promote import promote
from guardianflow.cli.rollback import drill, rollback
from guardianflow.cli.run import run
from guardianflow.cli.show import history, models, status
from guardianflow.cli.start import show_start
from guardianflow.errors import GuardianflowError
from guardianflow.machine.disk import disk_error
from guardianflow.machine.extras import package_missing

app = typer.Typer(
    name="guardianflow",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Train, quantize, promote, watch and roll back safety vision models.\n\n"
    "A model is named customer/region-plant/zone/task, e.g. "
    "donghwa-entec/busan-plant1/welding/ppe. The name of its variant for the edge box ends in "
    "__openvino_int8.\n\n"
    "Every command takes --json (print only JSON) and --debug (show tracebacks).",
    epilog="Exit codes: 0 done, 1 a defect, 2 bad input, 3 refused by a rule, "
    "4 server unreachable or disk full, 130 interrupted.",
)
_COMMANDS = {
    "Daily": (run, import_model, promote, pending, approve, reject, rollback),
    "Care": (models, history, status, export_errors, doctor, repair, compare, drill),
    "Machine": (measure,),
}
for panel, functions in _COMMANDS.items():
    for function in functions:
        # Python keeps the word "import" for itself.
        name = "import" if function is import_model else None
        app.command(name, rich_help_panel=panel)(function)
for function in (split, convert):
    dataset.commands.command()(function)
app.add_typer(dataset.commands, name="dataset", rich_help_panel="Daily")
app.add_typer(scenario.commands, name="scenario", rich_help_panel="Daily")
app.add_typer(health.commands, name="health", rich_help_panel="Daily")
app.add_typer(weights.commands, name="weights", rich_help_panel="Machine")
app.add_typer(trainer.commands, name="trainer", rich_help_panel="Machine")
app.add_typer(approver.commands, name="approver", rich_help_panel="Machine")


@app.callback()
def show_where_to_start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    *,
    out: OutputOption,
) -> None:
    """Print the version, or where to start if no command is named."""
    if version:
        out.say(f"guardianflow {__version__}")
        out.result({"version": __version__})
        raise typer.Exit
    if context.invoked_subcommand is None:
        show_start(out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug, out = "--debug" in words, Output(as_json="--json" in words)
    words = [word for word in words if word != "--debug"]
    try:
        code = app(words, prog_name="guardianflow", standalone_mode=False)
    except GuardianflowError as error:
        if debug:
            raise
        out.error(error.to_json())
        code = error.exit_code
    except TyperException as error:
        usage = {"type": "UsageError", "message": error.format_message(), "remedy": ""}
        out.error({**usage, "remedy": "`guardianflow --help` shows the commands with examples."})
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort) as stop:
        # Typer turns the interrupt into an Abort; a long work says how far it had come.
        said = str(stop.__cause__ or stop) or "Interrupted."
        stopped = {"type": "Interrupted", "message": said, "remedy": "Run it again: "}
        stopped["remedy"] += "the next command finishes what was begun."
        out.error(stopped)
        code = 130
    except BrokenPipeError:
        code = 0
    except Exception as error:
        if debug:
            raise
        code = _tell_unforeseen(error, out)
    sys.exit(code if isinstance(code, int) else 0)


def _tell_unforeseen(error: Exception, out: Output) -> int:
    """Tell an error that is none of ours, and return the exit code: the disk's, or a defect."""
    ours = disk_error(error) if isinstance(error, OSError) else None
    if isinstance(error, ModuleNotFoundError):
        ours = package_missing(error)
    if ours is not None:
        out.error(ours.to_json())
        return ours.exit_code
    defect = {
        "type": type(error).__name__,
        "message": f"This is a defect in guardianflow: {error}",
        "remedy": "Run the command again with --debug and report what it prints.",
    }
    out.error(json.loads(json.dumps(defect, default=str)))
    return 1
