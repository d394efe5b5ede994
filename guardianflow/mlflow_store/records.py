"""Records in MLflow: one run that holds a JSON document, pictures and figures, found by a token.

Proposals and health reports are records. What one process leaves for another, perhaps on another
machine days later, is kept here and never on a worker's disk. A record counts only once its
`guardianflow.complete` tag is set, which is the last write: a half-written one is never read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from pydantic import BaseModel

from guardianflow.errors import ArtifactMissing, VersionNotReady
from guardianflow.machine.disk import scratch
from guardianflow.mlflow_store.client import PRESENT, border
from guardianflow.names import metric_key
from guardianflow.stored import read_stored

PROMOTIONS = "guardianflow.promotions"
HEALTH = "guardianflow.health"
ALARMS = "guardianflow.alarms"
"""Has no records: `monitoring/alarms.py` keeps there what was reported."""
_TOKEN = "guardianflow.token"
COMPLETE_TAG = "guardianflow.complete"

Document = TypeVar("Document", bound=BaseModel)


@dataclass
class Draft:
    """What a record has besides its document; `folder` may have subfolders."""

    folder: Path
    tags: dict[str, str] = field(default_factory=dict[str, str])
    metrics: dict[str, float] = field(default_factory=dict[str, float])


def experiment_id(client: MlflowClient, name: str) -> str:
    """Return the id of an experiment, which is created if it does not exist."""
    with border(f"MLflow experiment {name}"):
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return client.create_experiment(name)
            except MlflowException as error:
                # Another process made it between the two calls: the name is unique on the server.
                if error.error_code not in PRESENT:
                    raise
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise
        return found.experiment_id


def find_record(client: MlflowClient, experiment: str, token: str) -> str | None:
    """Return the run id of the complete record with this token, the oldest if there are several."""
    with border(f"record {token}"):
        known = client.get_experiment_by_name(experiment)
        if known is None:
            return None
        found = client.search_runs(
            [known.experiment_id],
            filter_string=f"tags.`{_TOKEN}` = '{token}' and tags.`{COMPLETE_TAG}` = 'true'",
            order_by=["attributes.start_time ASC"],
            max_results=1,
        )
    return found[0].info.run_id if found else None


def open_record(client: MlflowClient, experiment: str, token: str, run_name: str) -> str:
    """Begin a record and return its run id; it does not count before `close_record`."""
    where = experiment_id(client, experiment)
    with border(f"record {token}"):
        return client.create_run(where, run_name=run_name, tags={_TOKEN: token}).info.run_id


def close_record(client: MlflowClient, run_id: str, document: BaseModel, draft: Draft) -> None:
    """Write everything that belongs to a record, and mark it complete last."""
    kind = type(document).__name__
    (draft.folder / f"{kind}.json").write_text(document.model_dump_json(indent=1), encoding="utf-8")
    with border(f"{kind} {run_id}"):
        client.log_artifacts(run_id, str(draft.folder))
        for key, value in draft.metrics.items():
            client.log_metric(run_id, metric_key(key), value)
        for key, value in draft.tags.items():
            client.set_tag(run_id, key, value)
        client.set_terminated(run_id, "FINISHED")
        client.set_tag(run_id, COMPLETE_TAG, "true")


def read_tags(client: MlflowClient, run_id: str, kind: type[BaseModel]) -> Mapping[str, str]:
    """Return the tags of a record, which say in one call what it is about.

    Raises:
        ArtifactMissing: There is no such record, or it is not complete.
    """
    label = _label(kind, run_id)
    try:
        with border(label):
            tags: dict[str, str] = client.get_run(run_id).data.tags
    except VersionNotReady as error:
        raise _unreadable(label, str(error), run_id) from error
    if tags.get(COMPLETE_TAG) != "true":
        raise _unreadable(label, "it was never completed", run_id)
    return tags


def read_record(client: MlflowClient, run_id: str, kind: type[Document]) -> Document:
    """Read the document of a record.

    Raises:
        ArtifactMissing: There is no such record, or it is not complete or not readable.
        StoredUnreadable: This version of guardianflow does not understand it.
    """
    read_tags(client, run_id, kind)
    return read_document(client, run_id, kind)


def read_document(client: MlflowClient, run_id: str, kind: type[Document]) -> Document:
    """Read the document of a record whose tags say that it is complete.

    Raises:
        ArtifactMissing: It is not readable.
        StoredUnreadable: This version of guardianflow does not understand it.
    """
    label = _label(kind, run_id)
    try:
        with border(label), scratch() as folder:
            path = Path(client.download_artifacts(run_id, f"{kind.__name__}.json", str(folder)))
            text = path.read_text(encoding="utf-8")
    except (VersionNotReady, OSError, UnicodeDecodeError) as error:
        raise _unreadable(label, str(error), run_id) from error
    return read_stored(kind, text, label)


def _label(kind: type[BaseModel], run_id: str) -> str:
    return f"{kind.__name__} of MLflow run {run_id!r}"


def _unreadable(label: str, why: str, run_id: str) -> ArtifactMissing:
    return ArtifactMissing(
        f"The {label} cannot be read: {why}.",
        remedy="Run the step that writes it again.",
        run_id=run_id,
    )
