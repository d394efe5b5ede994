"""What `prefect.yaml` describes: work pools, deployments, and the automation that rolls back.

The file lies beside this module, so that an installed command line has it without the checkout. The
root of the checkout, where `prefect deploy` looks for it, has a link to it (decision 0037).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

RELEASE_POOL = "guardianflow-release"
LIFECYCLE = "lifecycle/guardianflow"
PROMOTION = "promote/guardianflow"
CHECK_HEALTH = "check-health/guardianflow"
ROLLBACK = "rollback/guardianflow"
RECONCILE = "reconcile/guardianflow"
TAG = "guardianflow"
"""All deployments of prefect.yaml have it."""


@dataclass(frozen=True)
class PoolSettings:
    """One work pool."""

    concurrency_limit: int | None
    """How many flow runs it executes at once; None: any number."""
    worker_query_seconds: int
    """How often its worker asks for work."""


@dataclass(frozen=True)
class DeploymentTrigger:
    """An automation that starts a deployment: its trigger as Prefect's API says it."""

    name: str
    deployment: str
    trigger: Mapping[str, Any]
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class PrefectYaml:
    """What the file describes: pools by name, entrypoints by `flow/deployment`, and triggers."""

    pools: Mapping[str, PoolSettings]
    deployments: Mapping[str, str]
    triggers: tuple[DeploymentTrigger, ...]

    @property
    def rollback_trigger(self) -> DeploymentTrigger:
        """The automation that rolls back."""
        (found,) = (one for one in self.triggers if one.deployment == ROLLBACK)
        return found


@cache
def described() -> PrefectYaml:
    """What this version of guardianflow describes."""
    return read_prefect_yaml(Path(__file__).with_name("prefect.yaml"))


def read_prefect_yaml(path: Path) -> PrefectYaml:
    """Read a `prefect.yaml`."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries = {_deployment(entry): entry for entry in content["deployments"]}
    return PrefectYaml(
        {
            name: PoolSettings(pool["concurrency_limit"], pool["worker_query_seconds"])
            for name, pool in content.get("definitions", {}).get("pools", {}).items()
        },
        {name: entry["entrypoint"] for name, entry in entries.items()},
        tuple(
            _trigger(name, one)
            for name, entry in entries.items()
            for one in entry.get("triggers", ())
        ),
    )


def _deployment(entry: Mapping[str, Any]) -> str:
    """`flow/deployment`; Prefect calls a flow after its function."""
    flow = str(entry["entrypoint"]).rpartition(".")[2].replace("_", "-")
    return f"{flow}/{entry['name']}"


def _trigger(deployment: str, entry: Mapping[str, Any]) -> DeploymentTrigger:
    keys = ("match", "expect", "for_each", "posture", "threshold", "within")
    trigger = {"match_related": {}, "after": [], **{key: entry[key] for key in keys}}
    return DeploymentTrigger(entry["name"], deployment, trigger, entry["parameters"])
