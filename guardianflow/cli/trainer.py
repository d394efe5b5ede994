"""`guardianflow trainer`: trainers of other projects that this machine has."""

import typer

from guardianflow.cli.output import OutputOption
from guardianflow.scenario.file import load_spec, scenario_files, scenarios_folder

commands = typer.Typer(
    no_args_is_help=True, help="Show trainers of other projects, for `training: {trainer: NAME}`."
)


@commands.command(name="list")
def show_trainers(*, out: OutputOption) -> None:
    """List what trainers.yaml of this machine names, and the scenarios that want more.

    A training runs on a train worker: ask there, as its user.

    [bold]Example[/]

    guardianflow trainer list
    """
    from guardianflow.lifecycle.training.trainers import read_trainers, trainers_file

    every, wanted = read_trainers(), _wanted()
    out.table(
        f"trainers of {trainers_file()}",
        ("name", "data", "programs", "scenarios"),
        [
            (name, one.data, ", ".join(one.programs), ", ".join(wanted.get(name, ())) or None)
            for name, one in every.items()
        ],
    )
    missing = {name: users for name, users in wanted.items() if name not in every}
    for name, users in missing.items():
        out.remark(f"not on this machine: {name}, wanted by {', '.join(users)}", style="yellow")
    out.result(
        {
            "file": str(trainers_file()),
            "trainers": {
                name: {"data": one.data, "programs": one.programs, "digest": one.digest}
                for name, one in every.items()
            },
            "missing": missing,
        }
    )


def _wanted() -> dict[str, list[str]]:
    """By trainer, the versions of the scenarios here that want it."""
    found: dict[str, list[str]] = {}
    for name in scenario_files(scenarios_folder()):
        spec = load_spec(name)
        for version in spec.versions:
            if trainer := spec.version(version).training.trainer:
                found.setdefault(trainer, []).append(f"{name} {version}")
    return found
