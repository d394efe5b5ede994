"""Starts flow runs of deployments, each once, however often a request is sent."""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import uuid4

from guardianflow.errors import InputError
from guardianflow.prefect_api.client import detail

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun


def create_run(
    client: "SyncPrefectClient",
    deployment: str,
    parameters: Mapping[str, object],
    *,
    idempotency_key: str | None,
) -> "FlowRun":
    """Start a deployment; arguments and errors are those of `Orchestrator.submit`."""
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    try:
        found = client.read_deployment_by_name(deployment)
    except ObjectNotFound as error:
        server = str(client.api_url).rstrip("/")
        raise InputError(
            f"The Prefect server {server} has no deployment {deployment!r}.",
            remedy="Bring it there with `python -m deployments.apply`.",
            deployment=deployment,
        ) from error
    try:
        return client.create_flow_run_from_deployment(
            found.id,
            name=_name_of(deployment, parameters),
            parameters=dict(parameters),
            # Prefect's client sends the request again when no answer comes: still one run.
            idempotency_key=idempotency_key or str(uuid4()),
        )
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in (409, 422):
            raise
        raise InputError(
            f"The Prefect server refuses the parameters of {deployment}: {detail(error)}.",
            remedy="Correct the value.",
            deployment=deployment,
            status=error.response.status_code,
        ) from error


def _name_of(deployment: str, parameters: Mapping[str, object]) -> str | None:
    """The name of a flow run before it begins, which it keeps; None: Prefect's choice."""
    subject = [parameters.get(key) for key in ("scenario", "version", "model_name")]
    said = [str(one) for one in subject if one is not None]
    return " ".join([deployment.partition("/")[0], *said]) if said else None
