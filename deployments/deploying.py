"""Runs `prefect deploy --all`, and checks what came out: every deployment typed, each trigger once.

A flow that does not import is deployed without a schema, and `prefect deploy` exits 0.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import get_current_settings

from deployments import CHECKOUT
from guardianflow.errors import Refused
from guardianflow.prefect_api.listing import all_pages
from guardianflow.prefect_api.prefect_yaml import PrefectYaml, read_prefect_yaml


def deploy(client: SyncPrefectClient) -> None:
    """Bring the deployments of prefect.yaml to the server, with their triggers.

    Raises:
        Refused: `prefect deploy` failed, or what came out is not what was described.
    """
    # The settings of this process, which need not come from its environment (tests).
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    result = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=CHECKOUT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise Refused(f"`prefect deploy --all` failed:\n{result.stdout}\n{result.stderr}")
    if problems := find_differences(client, read_prefect_yaml(CHECKOUT / "prefect.yaml")):
        raise Refused(
            "The server is not as prefect.yaml describes: " + "; ".join(problems) + ".",
            remedy="Make every flow import (`python -c 'import flows.promotion'`), apply again.",
        )


def find_differences(client: SyncPrefectClient, expected: PrefectYaml) -> list[str]:
    """What is wrong with the state of the server; empty when all is as described."""
    problems: list[str] = []
    found = {(d.entrypoint, d.name): d for d in find_deployments(client)}
    for key, entrypoint in expected.deployments.items():
        deployment = found.get((entrypoint, key.partition("/")[2]))
        if deployment is None:
            problems.append(f"deployment {entrypoint} is missing")
            continue
        properties = (deployment.parameter_openapi_schema or {}).get("properties", {})
        untyped = [key for key, value in properties.items() if not _typed(value)]
        if not properties or untyped:
            problems.append(f"deployment {entrypoint} is untyped: {untyped or 'no parameters'}")
    for trigger in expected.triggers:
        if (times := len(client.read_automations_by_name(trigger.name))) != 1:
            problems.append(f"automation {trigger.name!r} is there {times} times")
    return problems


def find_deployments(
    client: SyncPrefectClient, wanted: DeploymentFilter | None = None
) -> list[DeploymentResponse]:
    """The deployments of the server; without a filter those of others, too."""
    return all_pages(partial(client.read_deployments, deployment_filter=wanted))


def _typed(schema: Mapping[str, object]) -> bool:
    return bool({"type", "$ref", "allOf", "anyOf", "enum", "oneOf"} & set(schema))
