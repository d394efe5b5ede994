"""The commands `doctor`, which finds what is wrong, and `repair`, for what was changed by hand."""

import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from guardianflow.cli.opening import open_registry
from guardianflow.cli.options import NameArgument, ReasonOption, model_argument, require_reason
from guardianflow.cli.output import Output, OutputOption, actor
from guardianflow.errors import GuardianflowError
from guardianflow.machine.servers import find_servers
from guardianflow.monitoring.findings import FileCheck, Finding, Severity
from guardianflow.names import ModelName

_REFUSED = 3
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}


class Keep(StrEnum):
    """Which of the two is right where the ledger and the aliases differ."""

    LEDGER = "ledger"
    MLFLOW = "mlflow"


def doctor(
    name: Annotated[
        ModelName | None, model_argument("Check only the release of this model.", optional=True)
    ] = None,
    files: Annotated[
        FileCheck,
        typer.Option(
            help="Compare files by name and size, or download them all and compare every byte."
        ),
    ] = FileCheck.SIZE,
    *,
    out: OutputOption,
) -> None:
    """Find what is wrong, and say which command fixes it; exit code 3 if there is an error.

    Compares the ledger with the aliases, versions, files and tags. If a Prefect server is known,
    also checks its automations, schedules and workers. Changes nothing.

    [bold]Examples[/]

    guardianflow doctor

    guardianflow doctor donghwa-entec/busan-plant1/welding/ppe --files sha256
    """
    registry = open_registry(out)
    from guardianflow.monitoring.doctor import examine_releases, find_releases, said_once
    from guardianflow.monitoring.silence import find_silent
    from guardianflow.monitoring.survey import champions_of

    releases, found = find_releases(registry, name), _of_prefect()
    with out.meter(quiet=not releases) as show:
        found += examine_releases(registry, releases, files=files, on_progress=show)
    found = said_once([*found, *find_silent(registry, champions_of(releases), watch=False)])
    _show(out, found, len(releases))
    out.result({"releases": len(releases), "findings": [finding.to_json() for finding in found]})
    if any(finding.severity is Severity.ERROR for finding in found):
        raise typer.Exit(_REFUSED)


def _of_prefect() -> list[Finding]:
    """What is wrong with the Prefect server; nothing where none is configured."""
    from guardianflow.monitoring.prefect_checks import examine_prefect, unreadable_prefect

    address = find_servers().prefect
    if not address:
        return []
    # Prefect takes a second to import.
    from guardianflow.prefect_api.control import Orchestrator

    try:
        return examine_prefect(Orchestrator(address).server_state(), datetime.now(UTC))
    except GuardianflowError as error:
        return [unreadable_prefect(error)]


def _show(out: Output, findings: Sequence[Finding], releases: int) -> None:
    """The findings by release, the release with the worst first."""
    examined = f"{releases} release{'' if releases == 1 else 's'} examined"
    if not findings:
        out.say(f"all is well: {examined}", style="green")
        return
    by_release: dict[str, list[Finding]] = {}
    for finding in findings:
        by_release.setdefault(finding.base, []).append(finding)
    for base, mine in by_release.items():
        out.say(base or "the servers", style="bold")
        for finding in mine:
            severity = (finding.severity, _STYLES[finding.severity])
            out.say(Text.assemble("  ", severity, f" {finding.code}: {finding.message}"))
            out.say(f"    {finding.remedy}")
    counts = Counter(finding.severity for finding in findings)
    said = ", ".join(
        f"{counts[severity]} {severity}{'' if counts[severity] == 1 else 's'}"
        for severity in Severity
        if counts[severity]
    )
    out.say(f"{said}; {examined}")


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
