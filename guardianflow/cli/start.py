"""`guardianflow` alone, and completion: where to start, and which names there are."""

from collections.abc import Sequence

from guardianflow.cli.output import Output
from guardianflow.cli.quick import QuickAnswers, ask_quickly
from guardianflow.errors import GuardianflowError
from guardianflow.machine.servers import Servers, use_servers
from guardianflow.scenario.file import scenario_files, scenarios_folder

_SERVERS = "`make up` in the checkout, or set MLFLOW_TRACKING_URI and PREFECT_API_URL"


def show_start(out: Output) -> None:
    """Show which servers are known and answer, which models there are, and what to do next."""
    try:
        servers = use_servers()
    except GuardianflowError as error:
        out.remark(f"{error.message} {error.remedy}")
        servers = Servers(None, None, "nowhere")
    found = ask_quickly(servers)
    next_command = _next(servers, found)
    out.say("guardianflow: the model lifecycle for safety vision", style="bold")
    out.say(f"  MLflow   {_state(servers.mlflow, found.models is not None)}")
    out.say(f"  Prefect  {_state(servers.prefect, found.waiting is not None)}")
    if found.models is not None:
        champions = sum("champion" in aliases for aliases in found.models.values())
        out.say(f"  models   {len(found.models)}, of which {champions} have a @champion")
    if found.waiting is not None:
        out.say(f"  waiting  {found.waiting} promotions wait for a person")
    out.say(f"next: {next_command}")
    out.say("`guardianflow --help` lists all commands.")
    out.result(
        {
            "servers": {"mlflow": servers.mlflow, "prefect": servers.prefect},
            "answers": {"mlflow": found.models is not None, "prefect": found.waiting is not None},
            "models": found.models,
            "waiting": found.waiting,
            "next": next_command,
        }
    )


def _state(address: str | None, answers: bool) -> str:
    if address is None:
        return "not known"
    return f"{address} {'answers' if answers else 'gives no quick answer'}"


def _next(servers: Servers, found: QuickAnswers) -> str:
    if not servers.mlflow and not servers.prefect:
        return _SERVERS
    if (servers.mlflow and found.models is None) or (servers.prefect and found.waiting is None):
        return "guardianflow status"
    if found.waiting:
        return "guardianflow pending"
    if found.models is None:
        return _SERVERS
    fresh = [name for name, aliases in found.models.items() if "champion" not in aliases]
    if not found.models:
        scenario = next(iter(complete_scenario("")), "SCENARIO")
        return f"guardianflow run {scenario} --type train --version v1"
    if fresh:
        return f"guardianflow promote {fresh[0]}"
    return "guardianflow doctor"


def complete_model(incomplete: str) -> Sequence[str]:
    """List the models of the server that begin so; none where it does not answer at once."""
    try:
        models = ask_quickly(Servers(use_servers().mlflow, None, "")).models
    except GuardianflowError:
        return []
    return [name for name in models or () if name.startswith(incomplete)]


def complete_scenario(incomplete: str) -> Sequence[str]:
    """List the scenario files that begin so."""
    try:
        known = scenario_files(scenarios_folder())
    except GuardianflowError:
        return []
    return [name for name in known if name.startswith(incomplete)]
