"""Runs `prefect deploy --all`, and checks what came out: every deployment typed, each trigger once.

A flow that does not import is deployed without a schema, and `prefect deploy` exits 0.
"""

import io
import sys
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import partial

from prefect.cli import app as prefect_cli
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter
from prefect.client.schemas.responses import DeploymentResponse

from deployments import CHECKOUT
from guardianflow.errors import Refused
from guardianflow.prefect_api.listing import all_pages
from guardianflow.prefect_api.prefect_yaml import PrefectYaml, read_prefect_yaml


def deploy(client: SyncPrefectClient) -> None:
    """Bring the deployments of prefect.yaml to the server, with their triggers.

    Raises:
        Refused: `prefect deploy` failed, or what came out is not what was described.
    """
    failed, said = _run_prefect(["--no-prompt", "deploy", "--all"])
    if failed:
        raise Refused(f"`prefect deploy --all` failed:\n{said}")
    if problems := find_differences(client, read_prefect_yaml(CHECKOUT / "prefect.yaml")):
        raise Refused(
            "The server is not as prefect.yaml describes: " + "; ".join(problems) + ".",
            remedy="Make every flow import (`python -c 'import flows.promotion'`), apply again.",
        )


def _run_prefect(words: list[str]) -> tuple[bool, str]:
    """Run a command of Prefect's own in this process, which has imported the flows' libraries.

    Returns:
        Whether it failed, and what it printed.
    """
    said, argv = io.StringIO(), sys.argv
    sys.argv = ["prefect", *words]
    try:
        with chdir(CHECKOUT), redirect_stdout(said), redirect_stderr(said):
            prefect_cli()
    except SystemExit as end:
        return bool(end.code), said.getvalue()
    finally:
        sys.argv = argv
    return False, said.getvalue()


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
