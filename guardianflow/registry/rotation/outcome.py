"""What callers see of an operation: before it (a plan) and after it (what moved, in words)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from guardianflow.names import ModelName
from guardianflow.registry.release_state import (
    Attribution,
    Decision,
    ModelAlias,
    Move,
    OperationKind,
    OperationRecord,
    champion_of,
)
from guardianflow.registry.rotation.remarks import remarks


@dataclass(frozen=True)
class Operation:
    """What an operation did to a release; `changed` is False where nothing was to do."""

    seq: int
    kind: str
    name: str
    before: Mapping[str, int | None]
    after: Mapping[str, int | None]
    by: Attribution
    time: datetime
    changed: bool
    moves: tuple[Move, ...]
    message: str
    warnings: tuple[str, ...] = ()
    """What a person should know about the state that it led to."""

    @property
    def actor(self) -> str:
        """Who decided."""
        return self.by.actor

    @property
    def reason(self) -> str:
        """Why."""
        return self.by.reason

    @property
    def token(self) -> str:
        """The request that it answers; the same token again is the same request."""
        return self.by.token

    @property
    def evidence(self) -> str:
        """Where the evidence is kept."""
        return self.by.evidence

    def to_json(self) -> dict[str, object]:
        """The operation as data, for `--json`."""
        data = asdict(self)
        by = data.pop("by")
        del by["automatic"]
        return {**data, **by, "time": self.time.isoformat()}


@dataclass(frozen=True)
class Plan:
    """What a request would do; without moves nothing is to do, and the warnings say why."""

    kind: str
    model_name: str
    version: int | None
    champion: Mapping[str, int | None]
    moves: tuple[Move, ...]
    warnings: tuple[str, ...]
    repeats: int | None = None
    """The operation that did just this for the same actor a short time ago, if there is one."""

    def to_json(self) -> dict[str, object]:
        """The plan as data, for `--json`."""
        return asdict(self)


def operation_of(record: OperationRecord, remark: str = "") -> Operation:
    """An operation of the ledger in words; the remark says why it is shown again."""
    moves: list[Move] = []
    for name, entry in sorted(record.after.items()):
        former = record.before.get(name)
        for alias, before, after in (
            (ModelAlias.CHAMPION, former.champion if former else None, entry.champion),
            (ModelAlias.ROLLBACK, former.rollback if former else None, entry.rollback),
        ):
            if before != after:
                moves.append(Move(name, alias, before, after))
    return Operation(
        seq=record.seq,
        kind=record.kind.value,
        name=record.name,
        before={name: champion_of(record.before, name) for name in record.after},
        after={name: entry.champion for name, entry in record.after.items()},
        by=record.by,
        time=datetime.fromisoformat(record.time),
        changed=True,
        moves=tuple(moves),
        message=_message(record, remark),
        warnings=remarks(ModelName.parse(record.name).base.public, record.after),
    )


def _message(record: OperationRecord, remark: str) -> str:
    verb = {
        OperationKind.PROMOTE: "Promoted",
        OperationKind.ROLLBACK: "Rolled back",
        OperationKind.ADOPT: "Adopted from MLflow",
        OperationKind.REPAIR: "Put back the aliases of",
        OperationKind.OTHER: "Moved by a newer guardianflow:",
    }[record.kind]
    moved = record.moved()
    parts = [
        f"{name} to version {after} (was {before or 'none'})"
        for name, (before, after) in sorted(moved.items(), key=lambda m: m[0] != record.name)
    ]
    text = f"{verb} {', '.join(parts) or record.name} as operation {record.seq}"
    return f"{text}; it {remark}." if remark else f"{text}."


def mended(operation: Operation, decision: Decision) -> Operation:
    """An operation that put aliases back shows which, which its states do not tell."""
    if not decision.mends:
        return operation
    message = f"{operation.message} Before: {decision.mends}."
    return replace(operation, moves=operation.moves or decision.moves, message=message)


def nothing_to_do(record: OperationRecord, finished: OperationRecord | None) -> Operation:
    """The answer to a request that found everything as it asked for, and would be this record.

    `finished` is the interrupted operation that was finished for it.
    """
    if record.kind is OperationKind.REPAIR:
        message = f"The aliases of {record.name} are as the ledger says: nothing was to mend"
        if finished:
            message += f"; operation {finished.seq} was interrupted and is finished now"
    else:
        champion = champion_of(record.after, record.name)
        message = f"{record.name} version {champion} is champion already: nothing was to do"
    return replace(operation_of(record), changed=False, message=f"{message}.")
