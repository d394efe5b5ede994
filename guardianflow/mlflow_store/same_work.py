"""Which runs are of the same work: found by their tags, not done twice, not edited afterwards."""

from collections.abc import Iterator, Mapping

from mlflow import MlflowClient
from mlflow.entities import Run

from guardianflow.errors import ScenarioFrozen
from guardianflow.mlflow_store.client import border
from guardianflow.mlflow_store.records import experiment_id
from guardianflow.mlflow_store.runs import read_scenario
from guardianflow.scenario import Scenario, edits
from guardianflow.vision.data.sample import Dataset

WORK_DIGEST_TAG = "guardianflow.work_digest"
"""The digest of the work, on runs and versions; those of version 0.1.0 have only the next."""
_FIRST_DIGEST_TAG = "guardianflow.scenario_digest"
"""The digest of version 0.1.0, which included gate and health: it can then resume our work."""
_NAMES = ("guardianflow.scenario", "guardianflow.scenario_version")
_LOOKED_BACK = 100
_MOST_EDITS = 5


def scenario_tags(scenario: Scenario, dataset: Dataset, kind: str) -> dict[str, str]:
    """Return the tags of a run: its kind, scenario and data set."""
    return {
        "guardianflow.kind": kind,
        **version_tags(scenario),
        "guardianflow.dataset_fingerprint": dataset.fingerprint,
    }


def version_tags(scenario: Scenario) -> dict[str, str]:
    """Return the tags with which runs and versions name the scenario they were made from."""
    return {
        "guardianflow.scenario": scenario.name,
        "guardianflow.scenario_version": scenario.version,
        _FIRST_DIGEST_TAG: scenario.first_digest,
        WORK_DIGEST_TAG: scenario.digest,
    }


def find_runs(
    client: MlflowClient,
    scenario: Scenario,
    tags: Mapping[str, str],
    *,
    finished: bool = True,
    limit: int = 20,
) -> list[Run]:
    """Return the (FINISHED) runs of the scenario's experiment with all these tags, newest first."""
    where = experiment_id(client, scenario.model_name.public)
    wanted = ["attributes.status = 'FINISHED'"] if finished else []
    query = " and ".join(wanted + [f"tags.`{key}` = '{value}'" for key, value in tags.items()])
    order = ["attributes.start_time DESC"]
    with border(f"runs of {scenario.model_name}"):
        return list(client.search_runs([where], query, max_results=limit, order_by=order))


def find_same_work(
    client: MlflowClient, scenario: Scenario, tags: Mapping[str, str]
) -> Iterator[Run]:
    """Yield FINISHED runs of the same work, whatever the scenario's name, newest first.

    Those of version 0.1.0 come last: their digest includes gate and health.
    """
    yield from find_runs(client, scenario, same_work(tags))
    others = {key: value for key, value in same_work(tags).items() if key != WORK_DIGEST_TAG}
    for run in find_runs(client, scenario, others, limit=_LOOKED_BACK):
        if WORK_DIGEST_TAG not in run.data.tags and is_work_of(
            client, run.data.tags, run.info.run_id, scenario
        ):
            yield run


def same_work(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that identify work: the digest of the settings, not the scenario's name."""
    return {key: value for key, value in tags.items() if key not in (*_NAMES, _FIRST_DIGEST_TAG)}


def first_work(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags by which version 0.1.0 identified work."""
    return {key: value for key, value in tags.items() if key not in (*_NAMES, WORK_DIGEST_TAG)}


def is_work_of(
    client: MlflowClient, tags: Mapping[str, str], run_id: str | None, scenario: Scenario
) -> bool:
    """Return whether a run or version with these tags was made from a scenario's settings.

    Where the tags do not decide, the scenario that the run recorded does.
    """
    if known := tags.get(WORK_DIGEST_TAG):
        return known == scenario.digest
    if tags.get(_FIRST_DIGEST_TAG) == scenario.first_digest:
        return True
    recorded = read_scenario(client, run_id) if run_id and _FIRST_DIGEST_TAG in tags else None
    return recorded is not None and recorded.digest == scenario.digest


def refuse_edited(client: MlflowClient, scenario: Scenario) -> None:
    """Refuse a scenario version that was edited after it had been trained.

    Raises:
        ScenarioFrozen: It was trained with other settings.
    """
    tags = dict(zip(_NAMES, (scenario.name, scenario.version), strict=True))
    made = [
        run
        for kind in ("train", "import")
        for run in find_runs(client, scenario, {"guardianflow.kind": kind, **tags})
    ]
    for run in made:
        run_id = run.info.run_id
        if is_work_of(client, run.data.tags, run_id, scenario):
            continue
        recorded = read_scenario(client, run_id)
        different = edits(recorded, scenario) if recorded else []
        said = f": {'; '.join(different[:_MOST_EDITS])}" if different else ""
        raise ScenarioFrozen(
            f"Scenario {scenario.name} {scenario.version} was trained with other settings "
            f"(run {run_id}) and edited since{said}.",
            remedy="Undo the edit, or put it into a new version of the scenario.",
            scenario=scenario.name,
            version=scenario.version,
            run_id=run_id,
            edits=different,
        )
