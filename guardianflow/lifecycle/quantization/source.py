"""Chooses the version of the base to quantize, where none is named."""

from guardianflow.errors import NoCandidate
from guardianflow.mlflow_store.registered_models import ROLLED_BACK
from guardianflow.mlflow_store.same_work import is_work_of
from guardianflow.registry import ModelAlias, ModelRegistryManager
from guardianflow.scenario import Scenario


def choose_source(registry: ModelRegistryManager, scenario: Scenario) -> int:
    """Return the FP32 version to quantize: the scenario version's @candidate, else its @champion.

    Settings are compared, not labels: a scenario version with the settings of an earlier one reuses
    its training, which keeps the earlier label.

    Raises:
        NoCandidate: Neither was trained from this scenario version, or the candidate was rolled
            back and the champion is another.
    """
    name = scenario.model_name
    for alias in (ModelAlias.CANDIDATE, ModelAlias.CHAMPION):
        info = registry.get_by_alias(name, alias)
        if info is None or info.status == ROLLED_BACK:
            continue
        if is_work_of(registry.client, info.tags, info.run_id, scenario):
            return info.version
    raise NoCandidate(
        f"{name} has no @candidate and no @champion that was trained from scenario "
        f"{scenario.name} {scenario.version} and not rolled back.",
        remedy=f"Train it: `guardianflow run {scenario.name} --type train --version "
        f"{scenario.version}`; or name one with --model-version.",
        name=name.public,
        scenario=scenario.name,
        version=scenario.version,
    )
