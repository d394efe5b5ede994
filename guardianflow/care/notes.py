"""What the scheduled pass remembers, on the MLflow server: one note for each subject and topic.

Notes are tags of an experiment of their own, because a model that was deleted has no tags. One call
reads all of a topic, however many subjects there are.
"""

import json
from contextlib import suppress
from enum import StrEnum

from mlflow import MlflowClient

from guardianflow.connection import border, write_repeatably
from guardianflow.errors import NameInvalid
from guardianflow.names import ModelName
from guardianflow.records import ALARMS, experiment_id

_SERVER = "server"


class Topic(StrEnum):
    """What a note is about."""

    RELEASES = "alarm"
    """Which findings about a release, or about MLflow, were told."""
    SILENCE = "silent"
    """Which silences were told."""
    ORCHESTRATOR = "prefect"
    """Which findings about Prefect were told."""
    WATCHED = "watched"
    """How long nobody has to hear of a champion, and when somebody last did."""


class Notes:
    """The notes of one topic."""

    def __init__(self, client: MlflowClient, topic: Topic) -> None:
        self._client = client
        self._prefix = f"guardianflow.{topic}."

    def read(self) -> dict[str, object]:
        """What was written, by the public name of a model; under "" of a server."""
        with border("read what was reported"):
            experiment = self._client.get_experiment_by_name(ALARMS)
        found: dict[str, object] = {}
        for key, value in (experiment.tags if experiment else {}).items():
            # Whatever else somebody wrote there is none of ours: forgotten is better than failing.
            with suppress(NameInvalid, ValueError, RecursionError):
                if key.startswith(self._prefix):
                    about = key.removeprefix(self._prefix)
                    name = "" if about == _SERVER else ModelName.parse(about).public
                    found[name] = json.loads(value)
        return found

    def write(self, name: str, note: object) -> None:
        """Remember something of a model; of a server where the name is empty."""
        key = f"{self._prefix}{ModelName.parse(name).registered if name else _SERVER}"
        text = json.dumps(note, separators=(",", ":"))
        where = experiment_id(self._client, ALARMS)
        with border(f"remember what was reported about {name or 'the server'}"):
            if self._client.get_experiment(where).lifecycle_stage != "active":
                self._client.restore_experiment(where)
            # Emptied, never deleted: that may need more rights.
            write_repeatably(lambda: self._client.set_experiment_tag(where, key, text))
