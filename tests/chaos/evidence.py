"""What a chaos run leaves behind, as data: what was asked and told, the ledger, the samples.

    a client's file  {"event": "invoke", "token": ..}  {"event": "answer", "token": ..}  ...
    the reader's     {"name": .., "start": .., "end": .., "champion": 3 | null}

Every process appends to a file of its own and flushes it to the disk before it goes on, so that
kill -9 loses no line that was finished. Times are of the machine's monotonic clock, which all
processes share.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Champions = Mapping[str, int]


@dataclass(frozen=True)
class Answer:
    """What a client was told about a success."""

    seq: int = 0
    token: str = ""
    """Of the operation that was reported: another's, where that one was finished instead."""
    changed: bool = True
    after: Champions = field(default_factory=dict)
    version: int | None = None
    """Of a registration."""


@dataclass(frozen=True)
class Call:
    """One request, by its token, with all attempts of it."""

    token: str
    kind: str
    name: str
    start: float
    end: float | None = None
    """None while no attempt came to an answer."""
    outcome: str = "unknown"
    version: int | None = None
    expected: int | str | None = "any"
    """The champion that was expected; None expects that there is none."""
    force: bool = False
    only: bool = False
    automatic: bool = False
    source: int | None = None
    """The source version of a registered variant."""
    answer: Answer | None = None
    error: str = ""
    actual: int | str | None = "any"
    """The champion that a refusal reported."""
    lost_attempts: int = 0
    """Attempts whose outcome nobody knows: killed, or the server went away."""


@dataclass(frozen=True)
class Entry:
    """One operation of the ledger."""

    seq: int
    kind: str
    name: str
    before: Champions
    after: Champions
    rollback: Mapping[str, int | None]
    """What @rollback is to be after it."""
    token: str
    automatic: bool = False

    def moved(self) -> dict[str, tuple[int | None, int]]:
        return {
            name: (self.before.get(name), version)
            for name, version in self.after.items()
            if self.before.get(name) != version
        }

    @property
    def champions_differ(self) -> bool:
        return dict(self.before) != dict(self.after)


@dataclass(frozen=True)
class Sample:
    """What the reader saw: the champion of a name, or that there is none."""

    name: str
    start: float
    end: float
    champion: int | None


@dataclass(frozen=True)
class Intrusion:
    """An alias that somebody moved or deleted by hand; no version: deleted."""

    name: str
    alias: str
    version: int | None
    start: float


@dataclass(frozen=True)
class Version:
    """One version of a model, as MLflow holds it at the end."""

    name: str
    version: int
    token: str
    source: int | None = None


@dataclass(frozen=True)
class Evidence:
    """All that is known about one release after a run."""

    base: str
    calls: tuple[Call, ...]
    history: tuple[Entry, ...]
    aliases: Mapping[str, Mapping[str, int]]
    """At the end, by public name."""
    versions: tuple[Version, ...]
    samples: tuple[Sample, ...] = ()
    intrusions: tuple[Intrusion, ...] = ()


class Journal:
    """A file of JSON lines that survives kill -9 of its writer."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, *, sync: bool = True, **line: object) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if sync:
            os.fsync(self._file.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The finished lines of a journal; the last one may be cut by a kill."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def calls_of(lines: Iterable[Mapping[str, Any]]) -> list[Call]:
    """Bring invocations and answers together, by token, in the order of their start."""
    attempts: dict[str, list[Mapping[str, Any]]] = {}
    answers: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        found = attempts if line["event"] == "invoke" else answers
        found.setdefault(line["token"], []).append(line)
    calls: list[Call] = []
    for token, invoked in attempts.items():
        told = sorted(answers.get(token, []), key=lambda line: line["end"])
        known = [line for line in told if line["outcome"] != "unknown"]
        # A success stays one, whatever a later attempt was told; its effect was there from then on.
        done = [line for line in known if line["outcome"] == "ok"]
        last = done[0] if done else known[-1] if known else None
        asked = min(invoked, key=lambda line: line["start"])
        calls.append(
            Call(
                **{key: value for key, value in asked.items() if key in _ASKED},
                token=token,
                end=last["end"] if last else None,
                outcome=last["outcome"] if last else "unknown",
                answer=Answer(**last["answer"]) if last and last.get("answer") else None,
                error=last.get("error", "") if last else "",
                actual=last.get("actual", "any") if last else "any",
                lost_attempts=len(invoked) - len(known),
            )
        )
    return sorted(calls, key=lambda call: call.start)


_ASKED = {
    *("kind", "name", "start", "version", "expected", "force", "only", "automatic", "source"),
}
