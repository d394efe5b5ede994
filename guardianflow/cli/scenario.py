"""`guardianflow scenario`: the file that describes a zone."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
import yaml

from guardianflow.cli.options import model_argument
from guardianflow.cli.output import Output, OutputOption
from guardianflow.errors import DatasetInvalid, InputError
from guardianflow.machine.disk import write_whole
from guardianflow.names import ModelName
from guardianflow.scenario import Scenario, ScenarioSpec
from guardianflow.scenario.file import scenario_files, scenarios_folder
from guardianflow.scenario.template import write_scenario

commands = typer.Typer(no_args_is_help=True, help="Write the file that describes a zone.")


@commands.command()
def init(
    photos: Annotated[Path, typer.Argument(help="Folder with data.yaml, images and labels.")],
    name: Annotated[ModelName, model_argument("Model name: customer/region-plant/zone/task.")],
    scenario: Annotated[
        str, typer.Option(help="Name of the scenario and of its file (default: zone-task).")
    ] = "",
    *,
    out: OutputOption,
) -> None:
    """Write a scenario with comments for a folder of photographs.

    It goes into scenarios/, or the folder that GUARDIANFLOW_SCENARIOS names. A file that exists is
    never overwritten.

    [bold]Example[/]

    guardianflow scenario init photos my-company/seoul-plant1/my-line/ppe
    """
    if name.is_variant or "-" not in name.site:
        raise InputError(
            f"{name} does not name region and plant of a base.",
            remedy="Give customer/region-plant/zone/task, e.g. my-company/seoul-plant1/line/ppe.",
            name=name.public,
        )
    scenario = scenario or f"{name.zone}-{name.task}"
    folder = scenarios_folder()
    path = folder / f"{scenario}.yaml"
    if exists := scenario_files(folder).get(scenario):
        raise InputError(
            f"There is a scenario {scenario} already: {exists}.",
            remedy="Edit that file, or give the new one another name with --scenario.",
            file=str(exists),
        )
    text = write_scenario(name, photos, _classes(photos))
    # Its own reader is the judge of names and classes.
    spec = ScenarioSpec.from_mapping(scenario, yaml.safe_load(text), where=str(path))
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
    _tell(out, path, photos, spec.version("v1"))


def _classes(photos: Path) -> tuple[str, ...]:
    """The classes of a data set.

    Raises:
        DatasetInvalid: There is no data.yaml, or its classes cannot be used.
    """
    from guardianflow.vision.data.description import read_description
    from guardianflow.vision.data.findings import DataFinding, errors

    findings: list[DataFinding] = []
    found = read_description(photos, findings)
    if found is None or not found.classes:
        worst = next(iter(errors(findings)), None)
        said = f"{worst.location}: {worst.what}." if worst else f"{photos} names no classes."
        raise DatasetInvalid(
            said,
            remedy=f"`guardianflow dataset check {photos}` says all that is wrong; "
            "`guardianflow dataset convert` makes a data.yaml of other formats.",
            file=str(photos),
        )
    return found.classes


def _tell(out: Output, path: Path, photos: Path, scenario: Scenario) -> None:
    out.say(f"{path}: {', '.join(scenario.classes)}")
    for step in (
        f"guardianflow dataset check {quote(str(photos))}",
        "guardianflow weights fetch",
        f"guardianflow run {scenario.name} --type train --version v1",
    ):
        out.remark(f"next: {step}")
    out.result({"file": str(path), "scenario": scenario.name, "classes": list(scenario.classes)})
