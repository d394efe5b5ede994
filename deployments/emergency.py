"""One prefilled rollback for each scenario: in an emergency nobody types a name with slashes.

    scenario block donghwa-entec-ppe -> deployment rollback/donghwa-entec-ppe, asks for a reason

It is a copy of the deployment `rollback/guardianflow`, with the model filled in and one field to
fill. It is deleted together with its scenario; deployments of others are left alone.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from blocks import ScenarioConfig
from deployments.deploying import find_deployments
from guardianflow.errors import GuardianflowError
from guardianflow.prefect_api.prefect_yaml import ROLLBACK
from guardianflow.scenario import ScenarioSpec

_TAG = "guardianflow-emergency"
_FLOW, _, _GENERAL = ROLLBACK.partition("/")


def apply_rollbacks(client: SyncPrefectClient) -> None:
    """Make, correct and delete prefilled rollbacks, so that each scenario has one."""
    general = client.read_deployment_by_name(ROLLBACK)
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[_TAG]))
    mine = {deployment.name: deployment for deployment in find_deployments(client, tagged)}
    for scenario, model_name in sorted(_models(client)):
        wanted, found = _describe(general, model_name), mine.pop(scenario, None)
        if found is None:
            with suppress(ObjectNotFound):
                client.read_deployment_by_name(f"{_FLOW}/{scenario}")
                print(f"deployment {_FLOW}/{scenario} belongs to somebody else and is left alone")
                continue
        elif all(getattr(found, key) == value for key, value in wanted.items()):
            continue
        client.create_deployment(flow_id=general.flow_id, name=scenario, **wanted)
        print(f"{'created' if found is None else 'updated'} deployment {_FLOW}/{scenario}")
    for deployment in mine.values():
        client.delete_deployment(deployment.id)
        print(f"deleted deployment {_FLOW}/{deployment.name}: its scenario is gone")


def _describe(general: DeploymentResponse, model_name: str) -> dict[str, Any]:
    """The settings of the general deployment, with the model filled in and a reason required."""
    properties: Mapping[str, Any] = (general.parameter_openapi_schema or {})["properties"]
    reason = {
        **{key: value for key, value in properties["reason"].items() if key != "default"},
        "minLength": 3,
        "position": 0,
        "description": f"Why {model_name} goes back to its last-known-good version; it stays in "
        "the history.",
    }
    return {
        "description": f"EMERGENCY: put {model_name} back to its last-known-good version, with "
        "its variants. Asks only for a reason.",
        "parameters": {"model_name": model_name},
        "parameter_openapi_schema": {
            "title": "Parameters",
            "type": "object",
            "properties": {"reason": reason},
            "required": ["reason"],
        },
        "enforce_parameter_schema": True,
        "tags": ["guardianflow", _TAG],
        "work_pool_name": general.work_pool_name,
        "work_queue_name": general.work_queue_name,
        "job_variables": general.job_variables,
        "entrypoint": general.entrypoint,
        "path": general.path,
        "pull_steps": general.pull_steps,
    }


def _models(client: SyncPrefectClient) -> Iterator[tuple[str, str]]:
    """Every scenario on the server that can be read, with the model of its newest version."""
    slug = str(ScenarioConfig.get_block_type_slug())
    for document in client.read_block_documents_by_type(slug, include_secrets=False):
        name = str(document.name)
        if name == _GENERAL:
            print(f"scenario {name} gets no rollback of its own: the general one has its name")
            continue
        try:
            spec = ScenarioSpec.from_block(name, document.data)
            newest = max(spec.versions, key=lambda version: int(version[1:]))
            yield name, spec.version(newest).model_name.public
        except GuardianflowError as error:
            print(f"scenario {name} gets no rollback of its own: {error.message}")
