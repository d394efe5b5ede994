"""Where the ledger is: its experiment, and the index of which run holds whose operations.

    experiment guardianflow.ledger        tag guardianflow.index_run -> index run
      index run      <registered base>/<segment> -> id of a ledger run     (write-once params)

A unique name is the one thing that MLflow creates atomically: the experiment is made under a
passing name with all that belongs to it, and published by renaming it. Whoever makes it owns it,
so on a server with accounts only an administrator may.
"""

import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Experiment, ViewType
from mlflow.exceptions import MlflowException

from guardianflow.errors import LedgerDamaged, NameInvalid
from guardianflow.mlflow_store.client import border
from guardianflow.mlflow_store.records import ALARMS, HEALTH, PROMOTIONS, experiment_id
from guardianflow.mlflow_store.rights import require_administrator
from guardianflow.names import ModelName
from guardianflow.registry.ledger.mirror import HEAD_TAG
from guardianflow.registry.ledger.write_once import read_run, require_write_once

LEDGER_EXPERIMENT = "guardianflow.ledger"
INDEX_TAG = "guardianflow.index_run"
_INDEX_RUN = "index"
_WHAT = "the index of the ledger"
# Never published: its maker was killed, or lost the election.
_PASSING = re.compile(rf"{re.escape(LEDGER_EXPERIMENT)}\.[0-9a-f]{{32}}")


@dataclass(frozen=True)
class Index:
    """The ledger's experiment as it was when it was looked for."""

    experiment_id: str
    run_id: str
    tags: Mapping[str, str]
    """Those of the experiment."""


def find_index(client: MlflowClient) -> Index | None:
    """Look for the ledger; None on a server that never had one.

    Raises:
        LedgerDamaged: Its experiment was deleted, renamed, or lost the tag that names the index.
    """
    with border("look for the ledger"):
        experiment = client.get_experiment_by_name(LEDGER_EXPERIMENT)
        if experiment is None:
            _refuse_renamed(client)
            return None
    where = experiment.experiment_id
    if experiment.lifecycle_stage != "active":
        raise LedgerDamaged(
            f"The MLflow experiment {LEDGER_EXPERIMENT} ({where}) was deleted.",
            remedy=f"{_restore(where)}, from the checkout, brings it back.",
            experiment_id=where,
        )
    if not (run_id := experiment.tags.get(INDEX_TAG)):
        raise _untagged(client, experiment)
    return Index(where, run_id, experiment.tags)


def read_index(client: MlflowClient, index: Index) -> Mapping[str, str]:
    """The entries of the index: by `<registered base>/<segment>` the id of a ledger run.

    Raises:
        LedgerDamaged: It was deleted, or the tag names another run.
    """
    run = read_run(client, index.run_id, _WHAT)
    if run.info.experiment_id != index.experiment_id:
        raise LedgerDamaged(
            f"The tag {INDEX_TAG} of the MLflow experiment {LEDGER_EXPERIMENT} "
            f"({index.experiment_id}) names a run of another experiment.",
            remedy=_retag(index.experiment_id, "RUN") + "; RUN is its run called index.",
            experiment_id=index.experiment_id,
        )
    return run.data.params


def runs_of(index: Index, entries: Mapping[str, str], base: ModelName) -> list[str]:
    """The ledger runs of a base, in the order of their operations.

    Raises:
        LedgerDamaged: An entry of the index was deleted.
    """
    segments = {segment: key for key in entries if (segment := _segment(base, key)) is not None}
    for segment in range(len(segments)):
        if segment not in segments:
            raise LedgerDamaged(
                f"The index of the ledger (MLflow run {index.run_id}) has lost run {segment} of "
                f"{base}.",
                remedy="Restore the back-up of MLflow's database.",
                name=base.public,
                run_id=index.run_id,
            )
    return [entries[segments[segment]] for segment in range(len(segments))]


def key_of(base: ModelName, segment: int) -> str:
    """The param of the index that names a base's ledger run."""
    return f"{base.registered}/{segment}"


def _segment(base: ModelName, key: str) -> int | None:
    """The segment that a param of the index is about; None where it is not one of this base."""
    number = key.rpartition("/")[2]
    if not number.isdecimal() or key != key_of(base, int(number)):
        return None
    return int(number)


def known_bases(client: MlflowClient) -> dict[ModelName, tuple[str, ...]]:
    """The bases that have a ledger, also those whose model is gone, with the ids of its runs.

    What is missing of a single base is found by who reads that one.

    Raises:
        LedgerDamaged: The ledger was deleted or renamed, or lost its index.
    """
    index = find_index(client)
    found: dict[ModelName, list[str]] = {}
    for key, run_id in sorted(read_index(client, index).items()) if index else ():
        # Whatever else somebody wrote there is no entry.
        with suppress(NameInvalid):
            base = ModelName.parse(key.rpartition("/")[0]).base
            if _segment(base, key) is not None:
                found.setdefault(base, []).append(run_id)
    return {base: tuple(runs) for base, runs in found.items()}


def create_index(client: MlflowClient, *, anew: bool = False) -> Index:
    """Make the ledger of a server, or take the one that another process made meanwhile.

    `anew`: a person decided to go on without the ledger that there was.

    Raises:
        PermissionDenied: The account is no administrator of a server with accounts.
        LedgerDamaged: There was a ledger: models carry its mirror.
    """
    require_administrator(client)
    if not anew:
        _refuse_a_second_ledger(client)
    with border("create the ledger"):
        experiment = client.create_experiment(f"{LEDGER_EXPERIMENT}.{uuid.uuid4().hex}")
        run_id = client.create_run(experiment, run_name=_INDEX_RUN).info.run_id
        client.update_run(run_id, status="FINISHED")
        client.set_experiment_tag(experiment, INDEX_TAG, run_id)
        try:
            client.rename_experiment(experiment, LEDGER_EXPERIMENT)
        except MlflowException:
            # Whatever the reason: if the name is taken now, somebody else was elected.
            published = client.get_experiment_by_name(LEDGER_EXPERIMENT)
            if published is None:
                raise
            if published.experiment_id != experiment:
                client.delete_experiment(experiment)
    found = find_index(client)
    if found is None:
        raise LedgerDamaged(
            f"MLflow took the experiment {LEDGER_EXPERIMENT} and then did not know it.",
            remedy="Try again.",
        )
    return found


def prepare_server(client: MlflowClient, *, again: bool = True) -> Index:
    """Make an MLflow server ready for rotations: what an administrator does once, and repeats.

    It creates the experiments that all accounts share, so that no account of daily work owns them,
    and tries out whether params stay as first written. With `again` it does so although that was
    done: the database may be another one now.

    Raises:
        BackendUnfit: They do not.
        PermissionDenied: It was not done yet, and the account is no administrator.
        LedgerDamaged: The ledger was deleted, renamed or lost its index.
    """
    index = find_index(client) or create_index(client)
    read_index(client, index)
    for name in (PROMOTIONS, HEALTH, ALARMS):
        experiment_id(client, name)
    require_write_once(client, index.experiment_id, index.tags, again=again)
    return index


def _refuse_renamed(client: MlflowClient) -> None:
    """Say so if the ledger is there under another name: a second one would be begun."""
    found = client.search_experiments(
        ViewType.ALL, filter_string=f"tags.`{INDEX_TAG}` LIKE '%'", max_results=100
    )
    for experiment in found:
        if _PASSING.fullmatch(experiment.name):
            continue
        where = experiment.experiment_id
        rename = (
            f"`python -m deployments.tool mlflow experiments rename --experiment-id {where} "
            f"--new-name {LEDGER_EXPERIMENT}`, from the checkout"
        )
        deleted = experiment.lifecycle_stage != "active"
        raise LedgerDamaged(
            f"The MLflow experiment {LEDGER_EXPERIMENT} ({where}) was renamed to "
            f"{experiment.name!r}{' and deleted' if deleted else ''}.",
            remedy=f"{_restore(where)}, then {rename}." if deleted else f"{rename}, mends it.",
            experiment_id=where,
        )


def _refuse_a_second_ledger(client: MlflowClient) -> None:
    """Never begin an empty ledger silently where models say that there was one."""
    with border("look for models with a history"):
        models = client.search_registered_models(f"tags.`{HEAD_TAG}` LIKE '%'", max_results=1)
    if models:
        raise LedgerDamaged(
            f"The MLflow experiment {LEDGER_EXPERIMENT} is gone for good, but {models[0].name} "
            "and perhaps others were promoted with it.",
            remedy="Restore the back-up of MLflow's database. Without one, `guardianflow repair "
            f'{models[0].name} --keep mlflow --reason "the ledger is lost"` begins a new one with '
            "the aliases as they are now.",
        )


def _untagged(client: MlflowClient, experiment: Experiment) -> LedgerDamaged:
    """The experiment lost the tag that names the index; the run itself is easily found."""
    where = experiment.experiment_id
    with border("look for the index of the ledger"):
        runs = client.search_runs(
            [where], f"attributes.run_name = '{_INDEX_RUN}'", ViewType.ALL, max_results=2
        )
    known = runs[0].info.run_id if len(runs) == 1 else "RUN"
    remedy = _retag(where, known)
    return LedgerDamaged(
        f"The MLflow experiment {LEDGER_EXPERIMENT} ({where}) lost its tag {INDEX_TAG}.",
        remedy=remedy + ("." if len(runs) == 1 else "; RUN is its run called index."),
        experiment_id=where,
    )


def _retag(experiment: str, run_id: str) -> str:
    call = f"MlflowClient().set_experiment_tag('{experiment}', '{INDEX_TAG}', '{run_id}')"
    code = f"from mlflow import MlflowClient; {call}"
    return f'Set it again, from the checkout: `python -m deployments.tool python -c "{code}"`'


def _restore(experiment: str) -> str:
    return f"`python -m deployments.tool mlflow experiments restore --experiment-id {experiment}`"
