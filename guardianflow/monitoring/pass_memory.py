"""What passes of `reconcile` remember on the MLflow server: a note for each subject and topic.

Notes are tags of an experiment of their own, because a deleted model has no tags. One call reads
all notes of a topic.
"""

import logging
from contextlib import suppress
from enum import StrEnum
from typing import Generic, Literal, TypeVar

from mlflow import MlflowClient

from guardianflow.errors import NameInvalid, StoredUnreadable
from guardianflow.mlflow_store.client import border, write_repeatably
from guardianflow.mlflow_store.records import ALARMS, experiment_id
from guardianflow.names import ModelName
from guardianflow.stored import Stored, read_stored

_SERVER = "server"
log = logging.getLogger(__name__)


class Topic(StrEnum):
    """What a note is about."""

    RELEASES = "alarm"
    """Which findings about a release or the MLflow server were reported."""
    SILENCE = "silent"
    """Which silent champions were reported."""
    ORCHESTRATOR = "prefect"
    """Which findings about Prefect were reported."""
    WATCHED = "watched"
    """How long a champion may be silent, and its last sign of life."""


AlarmTopic = Literal[Topic.RELEASES, Topic.SILENCE, Topic.ORCHESTRATOR]
"""The topics of which people are told."""
Note = TypeVar("Note", bound=Stored)


class Notes(Generic[Note]):
    """The notes of one topic, all of one kind."""

    def __init__(self, client: MlflowClient, topic: Topic, kind: type[Note]) -> None:
        self._client = client
        self._kind = kind
        self._prefix = f"guardianflow.{topic}."

    def read(self) -> dict[str, Note]:
        """All notes by the public name of a model; the server's under "".

        A note that cannot be read is ignored: an alarm that is sent twice is better than none.
        """
        with border("read what was reported"):
            experiment = self._client.get_experiment_by_name(ALARMS)
        found: dict[str, Note] = {}
        for key, value in (experiment.tags if experiment else {}).items():
            if not key.startswith(self._prefix):
                continue
            about = key.removeprefix(self._prefix)
            # Tags of other people are ignored.
            with suppress(NameInvalid):
                name = "" if about == _SERVER else ModelName.parse(about).public
                try:
                    found[name] = read_stored(self._kind, value, f"tag {key} of {ALARMS}")
                except StoredUnreadable as error:
                    log.warning("%s It is forgotten.", error.message)
        return found

    def write(self, name: str, note: Note) -> None:
        """Store the note of a model, or of the server where the name is empty."""
        key = f"{self._prefix}{ModelName.parse(name).registered if name else _SERVER}"
        text = note.to_line()
        where = experiment_id(self._client, ALARMS)
        with border(f"remember what was reported about {name or 'the server'}"):
            if self._client.get_experiment(where).lifecycle_stage != "active":
                self._client.restore_experiment(where)
            # Emptied, not deleted: deleting may need more rights.
            write_repeatably(lambda: self._client.set_experiment_tag(where, key, text))
