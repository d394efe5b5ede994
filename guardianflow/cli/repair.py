"""`guardianflow repair`: fix a model whose aliases or tags were changed by hand."""

import uuid
from enum import StrEnum
from typing import Annotated

import typer

from guardianflow.cli.opening import open_registry
from guardianflow.cli.options import NameArgument, ReasonOption, require_reason
from guardianflow.cli.output import OutputOption, actor


class Keep(StrEnum):
    """Which of the two is right where the ledger and the aliases differ."""

    LEDGER = "ledger"
    MLFLOW = "mlflow"


def repair(
    name: NameArgument,
    keep: Annotated[
        Keep, typer.Option(help="ledger: put the aliases back. mlflow: accept them as they are.")
    ],
    reason: ReasonOption = "",
    *,
    out: OutputOption,
) -> None:
    """Fix a model whose aliases or tags were changed by hand in the MLflow UI.

    Finishes an interrupted operation, puts the aliases back (or accepts them) as an operation in
    the history, and restores the status tags of the versions.

    [bold]Examples[/]

    guardianflow repair donghwa-entec/busan-plant1/welding/ppe --keep ledger --reason "a slip"

    guardianflow repair donghwa-entec/busan-plant1/welding/ppe --keep mlflow --reason "by Kim"
    """
    require_reason(reason, "A repair needs a --reason.")
    registry = open_registry(out)
    operation = registry.repair(
        name, keep.value, reason=reason, actor=actor(), token=f"cli-{uuid.uuid4()}"
    )
    from guardianflow.monitoring.doctor import read_details
    from guardianflow.monitoring.reconciliation import mend_tags

    tags = mend_tags(registry, read_details(registry, name.base))
    out.moves(f"repair {name}", operation.moves)
    out.say(operation.message, style="green")
    for said in tags:
        out.say(said, style="green")
    out.result({**operation.to_json(), "tags": tags})
