"""Arguments and options that several commands take."""

from typing import Annotated, Any

import typer

from guardianflow.cli.start import complete_model, complete_scenario

_SCENARIO = "Name of a file in scenarios/."


def model_argument(text: str) -> Any:
    """Make the argument that names a model, with what `--help` says of it."""
    return typer.Argument(help=text, autocompletion=complete_model)


NameArgument = Annotated[
    str, model_argument("customer/region-plant/zone/task, with or without __openvino_int8.")
]
ScenarioArgument = Annotated[str, typer.Argument(help=_SCENARIO, autocompletion=complete_scenario)]
ScenarioOption = Annotated[str, typer.Option(help=_SCENARIO, autocompletion=complete_scenario)]
ReasonOption = Annotated[str, typer.Option(help="Why; it stays in the history.")]
