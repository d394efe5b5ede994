"""Remembers which findings were reported: an alarm is sent once, and once more when it is over.

    new finding -> event sent -> remembered -> still found: nothing is sent
                                            -> gone: that is sent, and it is forgotten

The memory is in MLflow (`pass_memory.py`): one note per topic for each release and for the server.
Events are sent before they are remembered: a process that is killed in between sends one twice
rather than never.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from mlflow import MlflowClient
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from guardianflow.monitoring.findings import FileCheck, Finding
from guardianflow.monitoring.pass_memory import AlarmTopic, Notes, Topic
from guardianflow.stored import Stored

_CLOSENESS = list(FileCheck)

ReportedFindings = Mapping[str, FileCheck]
"""Digests of findings that were reported, each with the weakest check of files that shows it."""


@dataclass(frozen=True)
class AlarmChange:
    """How the alarms of one release differ from what was reported."""

    base: str
    """Public name; empty where it is the server."""
    new: tuple[Finding, ...]
    """Findings that were not reported yet, the worst first."""
    memory: ReportedFindings
    """What to remember once they are reported."""

    @property
    def over(self) -> bool:
        """Whether the last alarm is over."""
        return not self.memory


def find_change(
    base: str, reported: ReportedFindings, alarms: Sequence[Finding], looked: FileCheck
) -> AlarmChange | None:
    """What changed in the alarms of a release that was examined; None where nothing did.

    `looked` is how closely its files were compared; what only a closer check shows is kept.
    """
    current = {finding_digest(finding): finding for finding in alarms}
    kept = {
        known: seen_by
        for known, seen_by in reported.items()
        if known in current or _CLOSENESS.index(seen_by) > _CLOSENESS.index(looked)
    }
    new = {known: finding for known, finding in current.items() if known not in reported}
    memory = kept | {known: finding.seen_by for known, finding in new.items()}
    return None if memory == reported else AlarmChange(base, tuple(new.values()), memory)


def finding_digest(finding: Finding) -> str:
    """Identify a finding: the same model, code and message always give the same digest."""
    text = f"{finding.model}\n{finding.code}\n{finding.message}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def find_changes(
    reported: Mapping[str, ReportedFindings], alarms: Sequence[Finding]
) -> list[AlarmChange]:
    """What changed in the alarms of all releases, where all findings of a topic are known."""
    changes = [
        find_change(
            base, reported.get(base, {}), [f for f in alarms if f.base == base], FileCheck.NONE
        )
        for base in sorted(reported.keys() | {finding.base for finding in alarms})
    ]
    return [change for change in changes if change]


class Told(Stored):
    """What was reported of a release or a server: {"<digest of a finding>": "<check of files>"}.

    The digests lie beside `schema_version` and `min_reader`, as the first version wrote them.
    """

    findings: dict[str, FileCheck] = Field(description="By digest, the check that shows it.")

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, content: object) -> object:
        """Read the digests; ignore keys of newer versions."""
        if not isinstance(content, dict) or "findings" in content:
            return content
        flat = cast("dict[str, object]", content)
        known = {key: value for key, value in flat.items() if value in list(FileCheck)}
        own = {key: flat[key] for key in cls.model_fields if key in flat}
        return {**own, "findings": known}

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = self._without_first_version(handler)
        findings = content.pop("findings")
        return {**content, **findings}


class AlarmBook:
    """What was reported of one topic, stored on the MLflow server."""

    def __init__(self, client: MlflowClient, topic: AlarmTopic = Topic.RELEASES) -> None:
        self._notes = Notes(client, topic, Told)

    def read(self) -> dict[str, ReportedFindings]:
        """What was reported, by the public name of the base; the server's under ""."""
        found = {base: told.findings for base, told in self._notes.read().items()}
        return {base: memory for base, memory in found.items() if memory}

    def write(self, change: AlarmChange) -> None:
        """Remember a change that was reported."""
        self._notes.write(change.base, Told(findings=dict(change.memory)))
