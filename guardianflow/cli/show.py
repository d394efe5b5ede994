"""The commands that only read: models, history, status."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.opening import open_orchestrator, open_registry
from guardianflow.cli.options import model_argument
from guardianflow.cli.output import Output, OutputOption
from guardianflow.errors import GuardianflowError, InputError
from guardianflow.machine.servers import Servers, use_servers
from guardianflow.names import ModelName
from guardianflow.prefect_api.run_tokens import RunToken, TokenKind
from guardianflow.prefect_api.server_state import PASS_LATE

if TYPE_CHECKING:
    from guardianflow.prefect_api.control import Orchestrator
    from guardianflow.registry import ModelSummary, Operation

_NOT_NAMED = "no server is named"


def models(
    name: Annotated[
        ModelName | None, model_argument("List the versions of this model.", optional=True)
    ] = None,
    *,
    out: OutputOption,
) -> None:
    """List the models with their aliases, or the versions of one model.

    [bold]Examples[/]

    guardianflow models

    guardianflow models donghwa-entec/busan-plant1/welding/ppe
    """
    registry = open_registry(out)
    if name:
        versions = registry.list_versions(name)
        out.table(
            name.public,
            ("version", "aliases", "scenario", "status", "created", "run"),
            [
                (
                    v.version,
                    " ".join(f"@{alias}{_note(alias, v.status)}" for alias in v.aliases),
                    v.tags.get("guardianflow.scenario_version"),
                    v.status,
                    f"{v.created:%Y-%m-%d %H:%M}",
                    v.run_id,
                )
                for v in versions
            ],
        )
        out.result([v.to_json() for v in versions])
        return
    summaries = registry.list_models()
    print_models(out, summaries)
    out.result([asdict(summary) for summary in summaries])


def history(
    name: Annotated[ModelName, model_argument("Model name, of a base or a variant.")],
    *,
    out: OutputOption,
) -> None:
    """Show who put what into production, when, why and on which evidence; oldest first.

    Warnings follow: no way back, an older model on the floor, a hold.

    [bold]Example[/]

    guardianflow history donghwa-entec/busan-plant1/welding/ppe
    """
    registry = open_registry(out)
    operations = registry.history(name)
    print_history(out, name, operations)
    if not out.as_json:
        from guardianflow.monitoring.doctor import release_notices

        for finding in release_notices(registry, name.base):
            out.remark(f"{finding.severity}: {finding.message} {finding.remedy}", style="yellow")
    out.result([{**op.to_json(), "flow_run": flow_run_of(op.token)} for op in operations])


def status(*, out: OutputOption) -> None:
    """Show which servers are used, whether they answer, and what waits for a person.

    [bold]Example[/]

    guardianflow status
    """
    servers = use_servers()
    if not servers.mlflow and not servers.prefect:
        raise InputError(
            "No server is named.",
            remedy="Run `make up`, or set MLFLOW_TRACKING_URI and PREFECT_API_URL.",
        )
    found = _ask(servers)
    _show_status(out, servers, found)
    out.result(
        {
            "servers": {"mlflow": servers.mlflow, "prefect": servers.prefect},
            "workspace": servers.workspace,
            **found.answers,
            "waiting": found.waiting,
        }
    )
    if found.failed:
        raise typer.Exit(found.failed[0].exit_code)


@dataclass
class _Status:
    """What the servers answered, in words; what waits there; and why one did not answer."""

    answers: dict[str, object] = field(
        default_factory=lambda: {"mlflow": _NOT_NAMED, "prefect": _NOT_NAMED}
    )
    waiting: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    failed: list[GuardianflowError] = field(default_factory=list[GuardianflowError])


def _ask(servers: Servers) -> _Status:
    """Ask both servers; if one does not answer, the other is asked all the same."""
    found = _Status()
    asked = (("mlflow", servers.mlflow, _ask_mlflow), ("prefect", servers.prefect, _ask_prefect))
    for server, address, ask in asked:
        try:
            if address:
                ask(found)
        except GuardianflowError as error:
            found.answers[server] = error.message
            found.failed.append(error)
    return found


def _ask_mlflow(found: _Status) -> None:
    found.answers["mlflow"] = f"answers, {len(open_registry().list_models())} models"


def _ask_prefect(found: _Status) -> None:
    orchestrator = open_orchestrator()
    found.waiting = [
        {"flow_run": w.flow_run_name, "model": w.model_name, "url": w.url}
        for w in orchestrator.pending()
    ]
    found.answers["prefect"] = f"answers, {len(found.waiting)} waiting approvals"
    found.answers["reconcile"] = _last_pass(orchestrator)


def _show_status(out: Output, servers: Servers, found: _Status) -> None:
    workspace = f" (workspace {servers.workspace})" if servers.workspace else ""
    # A browser finds the UI at the API's address without its path.
    page = servers.prefect.removesuffix("/api") if servers.prefect else None
    rows = [
        ("MLflow", f"{servers.mlflow or '-'}{workspace}", found.answers["mlflow"]),
        ("Prefect", page, found.answers["prefect"]),
    ]
    out.table(f"Servers ({servers.source})", ("server", "address", "state"), rows)
    if "reconcile" in found.answers:
        out.remark(f"reconcile: {found.answers['reconcile']}")
    for row in found.waiting:
        out.remark(f"waiting: {row['model']} ({row['flow_run']}) {row['url']}")
    for error in found.failed:
        out.remark(error.remedy)
    if not found.failed:
        both = servers.mlflow and servers.prefect
        out.say("both servers answer" if both else "the server answers")


def _last_pass(orchestrator: "Orchestrator") -> str:
    """What the last pass over all releases found, and when."""
    last = orchestrator.last_ended("reconcile")
    if last is None or last.ended is None:
        return "no pass yet"
    age = datetime.now(UTC) - last.ended
    late = ": is its schedule paused, or its worker down?" if age > PASS_LATE else ""
    return f"{last.state} {age.total_seconds():.0f} s ago{late} {last.message}"


def print_models(out: Output, summaries: "Sequence[ModelSummary]") -> None:
    """Which version each alias of each model names."""
    out.table(
        "Models",
        ("model", "@champion", "@rollback", "@candidate"),
        [
            (s.name, s.aliases.get("champion"), s.aliases.get("rollback"), _candidate(s))
            for s in summaries
        ],
    )


def _candidate(summary: "ModelSummary") -> str | None:
    version = summary.aliases.get("candidate")
    return f"{version}{_note('candidate', summary.candidate_status)}" if version else None


def _note(alias: str, status: str) -> str:
    """What keeps a candidate with this status from being promoted, in brackets; '' if nothing."""
    from guardianflow.mlflow_store.registered_models import REJECTED, ROLLED_BACK

    notes = {ROLLED_BACK: " (quarantined)", REJECTED: " (rejected)"}
    return notes.get(status, "") if alias == "candidate" else ""


def print_history(out: Output, name: ModelName, operations: "Sequence[Operation]") -> None:
    """The operations of a release, oldest first."""
    out.table(
        f"History of {name.base}",
        ("#", "time (UTC)", "what", "@champion", "who", "why", "evidence"),
        [
            (
                op.seq,
                f"{op.time:%Y-%m-%d %H:%M:%S}",
                op.kind,
                "\n".join(
                    f"{model.rpartition('/')[2]} {op.before.get(model) or '-'} → {after}"
                    for model, after in op.after.items()
                    if op.before.get(model) != after
                ),
                op.actor,
                op.reason,
                _evidence(op),
            )
            for op in operations
        ],
    )


def flow_run_of(token: str) -> str | None:
    """The id of the flow run that asked for an operation, or None where none did."""
    found = RunToken.parse(token)
    moves = found is not None and found.kind in (TokenKind.PROMOTION, TokenKind.ROLLBACK)
    return found.run_id if found and moves else None


def _evidence(operation: "Operation") -> str | None:
    flow_run = flow_run_of(operation.token)
    evidence = operation.evidence.partition(":")[0]
    said = [f"MLflow run {evidence}"] if evidence else []
    said += [f"flow run {flow_run}"] if flow_run else []
    return "\n".join(said) or None
