"""The limits of a champion's health, even where its scenario cannot be read.

    today's limits of its recorded scenario           the usual case
    today's limits of the scenario that its tags name
    the limits inside the recorded text
    the default limits                                the last resort

The verdict says where it is not the first.
"""

import json
import logging
from dataclasses import dataclass
from typing import Any, cast

from guardianflow.errors import ArtifactMissing, StoredUnreadable, VersionNotReady
from guardianflow.evaluation.measurement import judged_scenario
from guardianflow.mlflow_store.runs import SCENARIO_FILE, read_run_text
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from guardianflow.scenario import HealthPolicy, Today
from guardianflow.stored import read_stored

_UNREADABLE = (ArtifactMissing, StoredUnreadable, VersionNotReady)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """The limits of a champion, and what the verdict says about them; '' for nothing."""

    policy: HealthPolicy
    remark: str = ""


def limits_of(registry: ModelRegistryManager, info: RegisteredModelInfo, today: Today) -> Limits:
    """Find the limits of a version, even if its run was purged or cannot be understood."""
    try:
        scenario = judged_scenario(registry, info, today)
    except _UNREADABLE as error:
        limits = _without_scenario(registry, info, today)
        remark = limits.remark.removeprefix(";")
        log.warning("%s version %d%s: %s", info.name, info.version, remark, error)
        return limits
    return Limits(scenario.health if scenario else HealthPolicy())


def _without_scenario(
    registry: ModelRegistryManager, info: RegisteredModelInfo, today: Today
) -> Limits:
    """The best limits without the recorded scenario."""
    unreadable = "; its recorded scenario cannot be read, so"
    name, version = info.scenario, info.scenario_version
    now = today(name, version) if name and version else None
    if now:
        counted = f"the limits that {name} {version} has today count"
        return Limits(now.health, f"{unreadable} {counted}")
    if recorded := _recorded(registry, info):
        return Limits(recorded, f"{unreadable} the limits that stand in it count")
    return Limits(HealthPolicy(), f"{unreadable} the default limits count")


def _recorded(registry: ModelRegistryManager, info: RegisteredModelInfo) -> HealthPolicy | None:
    """The limits in a recorded scenario that cannot be read as a whole."""
    try:
        content = json.loads(read_run_text(registry.client, info.run_id or "", SCENARIO_FILE))
        health = cast("dict[str, Any]", content)["health"] if isinstance(content, dict) else None
        return read_stored(HealthPolicy, json.dumps(health), "limits") if health else None
    except (*_UNREADABLE, ValueError, RecursionError, KeyError):
        return None
