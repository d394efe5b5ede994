"""Arguments and options that several commands take."""

from typing import Annotated, Any

import typer

from guardianflow.cli.start import complete_model, complete_scenario
from guardianflow.errors import InputError
from guardianflow.names import ModelName

_SCENARIO = "Name of a scenario file in scenarios/, e.g. donghwa-entec-ppe."


def model_argument(text: str, *, optional: bool = False) -> Any:
    """Make the argument that names a model; `text` is what `--help` says of it."""
    parse = name_if_given if optional else ModelName.parse
    return typer.Argument(help=text, parser=parse, autocompletion=complete_model)


def name_if_given(text: str) -> ModelName | None:
    """Parse a name, of which a script may have none: ''."""
    return ModelName.parse(text) if text else None


NameArgument = Annotated[
    ModelName,
    model_argument("Model name: customer/region-plant/zone/task, with or without __openvino_int8."),
]
ScenarioArgument = Annotated[str, typer.Argument(help=_SCENARIO, autocompletion=complete_scenario)]
ScenarioOption = Annotated[str, typer.Option(help=_SCENARIO, autocompletion=complete_scenario)]
ReasonOption = Annotated[str, typer.Option(help="Why; kept in the history.")]
YesFlag = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask; without a terminal, nobody is asked.")
]
SHORTEST_REASON = 3


def require_reason(reason: str, why: str) -> None:
    """Refuse a command that has to say why and does not.

    Raises:
        InputError: `why` says which command it is.
    """
    if len(reason.strip()) < SHORTEST_REASON:
        raise InputError(why, remedy='Say why: --reason "..."')
