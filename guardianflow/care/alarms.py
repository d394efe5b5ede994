"""Remembers which findings were reported: an alarm is sent once, and once more when it is over.

    new finding -> event sent -> remembered -> still found: nothing is sent
                                            -> not found any more: forgotten, and that is sent too

The memory is in MLflow: tags of an experiment of its own, one for each release and one for the
server, because a model that was deleted has no tags. Events are sent before they are remembered,
so that a process that is killed between the two sends one twice rather than never.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from mlflow import MlflowClient

from guardianflow.care.findings import FileCheck, Finding
from guardianflow.connection import border, write_repeatably
from guardianflow.errors import NameInvalid
from guardianflow.names import ModelName
from guardianflow.records import ALARMS, experiment_id

_TAG = "guardianflow.alarm."
_SERVER = "server"
_CLOSENESS = list(FileCheck)

Memory = Mapping[str, FileCheck]
"""The digests of what was reported, each with the least check of files that shows it."""


@dataclass(frozen=True)
class Change:
    """How the alarms of one release differ from what was reported."""

    base: str
    """Public name; empty where it is the server."""
    new: tuple[Finding, ...]
    """What nobody was told yet, the worst first."""
    memory: Memory
    """What is to be remembered once that is told."""

    @property
    def over(self) -> bool:
        """Whether the last alarm is over."""
        return not self.memory


def compare(
    base: str, reported: Memory, alarms: Sequence[Finding], looked: FileCheck
) -> Change | None:
    """What is to be told of a release that was examined; None where nothing is.

    Args:
        base: Public name of its base; empty for the server.
        reported: What was told before.
        alarms: What was found.
        looked: How closely its files were compared: what only a closer look shows is kept.
    """
    current = {digest(finding): finding for finding in alarms}
    kept = {
        known: seen_by
        for known, seen_by in reported.items()
        if known in current or _CLOSENESS.index(seen_by) > _CLOSENESS.index(looked)
    }
    new = {known: finding for known, finding in current.items() if known not in reported}
    memory = kept | {known: finding.seen_by for known, finding in new.items()}
    return None if memory == reported else Change(base, tuple(new.values()), memory)


def digest(finding: Finding) -> str:
    """The same for the same finding, whenever it is found."""
    text = f"{finding.model}\n{finding.code}\n{finding.message}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class AlarmBook:
    """What was reported, kept on the MLflow server."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def read(self) -> dict[str, Memory]:
        """What was reported, by the public name of a release's base; under "" of the server."""
        with border("read what was reported"):
            experiment = self._client.get_experiment_by_name(ALARMS)
        reported: dict[str, Memory] = {}
        for key, value in (experiment.tags if experiment else {}).items():
            # Whatever else somebody wrote there is none of ours.
            with suppress(NameInvalid):
                if key.startswith(_TAG) and (memory := _decode(value)):
                    about = key.removeprefix(_TAG)
                    base = "" if about == _SERVER else ModelName.parse(about).public
                    reported[base] = memory
        return reported

    def write(self, change: Change) -> None:
        """Remember a change that was told."""
        about = ModelName.parse(change.base).registered if change.base else _SERVER
        key = f"{_TAG}{about}"
        text = json.dumps(dict(change.memory), separators=(",", ":"))
        where = experiment_id(self._client, ALARMS)
        with border(f"remember the alarms of {change.base or 'the server'}"):
            if self._client.get_experiment(where).lifecycle_stage != "active":
                self._client.restore_experiment(where)
            # Emptied, never deleted: that may need more rights.
            write_repeatably(lambda: self._client.set_experiment_tag(where, key, text))


def _decode(value: str) -> Memory:
    try:
        content = cast("dict[str, str]", json.loads(value))
        return {known: FileCheck(seen_by) for known, seen_by in content.items()}
    except (ValueError, AttributeError, RecursionError):
        # Edited by hand: told again is better than never.
        return {}
