"""The limits of a champion's health, also where its scenario cannot be read any more.

    its recorded scenario, with the limits of today        can be read: as ever
    the limits of today of the scenario that its tags name
    the limits in what was recorded, whatever else stands there
    the default limits                                     nobody knows better

Each but the first is said with the verdict.
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
    """What a champion is judged by, and what a verdict has to say about it; '' for nothing."""

    policy: HealthPolicy
    remark: str = ""


def limits_of(registry: ModelRegistryManager, info: RegisteredModelInfo, today: Today) -> Limits:
    """The limits of a version: it is judged even if its run was purged, or is of another time."""
    try:
        scenario = judged_scenario(registry, info, today)
    except _UNREADABLE as error:
        limits = _without_scenario(registry, info, today)
        log.warning(
            "%s version %d%s: %s",
            info.name,
            info.version,
            limits.remark.removeprefix(";"),
            error,
        )
        return limits
    return Limits(scenario.health if scenario else HealthPolicy())


def _without_scenario(
    registry: ModelRegistryManager, info: RegisteredModelInfo, today: Today
) -> Limits:
    """The best limits that are known without the recorded scenario."""
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
    """The limits in the text of a recorded scenario that is not understood as a whole."""
    try:
        content = json.loads(read_run_text(registry.client, info.run_id or "", SCENARIO_FILE))
        health = cast("dict[str, Any]", content)["health"] if isinstance(content, dict) else None
        return read_stored(HealthPolicy, json.dumps(health), "limits") if health else None
    except (*_UNREADABLE, ValueError, RecursionError, KeyError):
        return None
