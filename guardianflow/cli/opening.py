"""Opens the servers for a command and says which ones they are."""

from typing import TYPE_CHECKING

from guardianflow.cli.output import Output
from guardianflow.errors import InputError
from guardianflow.machine.servers import use_servers

if TYPE_CHECKING:
    from guardianflow.prefect_api.control import Orchestrator
    from guardianflow.registry import ModelRegistryManager

_REMEDY = (
    "Run `make up` in the checkout, or set MLFLOW_TRACKING_URI and PREFECT_API_URL "
    "to servers that run elsewhere."
)


def open_registry(out: Output | None = None) -> "ModelRegistryManager":
    """The registry of the MLflow server that this process is to use.

    Raises:
        InputError: No server is named anywhere.
        RegistryUnavailable: It does not answer.
    """
    servers = use_servers()
    if not servers.mlflow:
        raise InputError("No MLflow server is named.", remedy=_REMEDY)
    if out:
        out.remark(servers.describe(), style="dim")
    from guardianflow.registry import ModelRegistryManager

    return ModelRegistryManager(servers.mlflow)


def open_orchestrator(out: Output | None = None) -> "Orchestrator":
    """The Prefect server that this process is to use, which answers.

    Raises:
        InputError: No server is named anywhere.
        OrchestratorUnavailable: It does not answer.
    """
    servers = use_servers()
    if not servers.prefect:
        raise InputError("No Prefect server is named.", remedy=_REMEDY)
    if out:
        out.remark(servers.describe(), style="dim")
    from guardianflow.prefect_api.control import Orchestrator

    orchestrator = Orchestrator(servers.prefect)
    orchestrator.check()
    return orchestrator


def warn_of_waiting(out: Output, orchestrator: "Orchestrator", deployment: str) -> None:
    """Warn if no worker is there to start what was submitted."""
    if why := orchestrator.why_it_waits(deployment):
        out.remark(f"note: the flow run waits: {why}", style="yellow")
