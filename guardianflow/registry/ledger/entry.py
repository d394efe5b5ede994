"""What stands in the params of the ledger, as text. Pure: no I/O.

    op.000007  {"seq": 7, "kind": "promote", ..., "previous": "<digest of operation 6>"}
    former     {"digest": "<that of operation 50>", "tokens": {"<digest of a token>": 50, ...}}

Every entry repeats the digest of the one before, across ledger runs too: nothing can be changed in
the middle without being found. `former` says what a ledger run has to know of those before it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator, Field, StrictInt

from guardianflow.errors import InputError, NameInvalid, StoredNewer, StoredUnreadable
from guardianflow.names import ModelName
from guardianflow.registry.ledger.write_once import MAX_VALUE
from guardianflow.registry.release_state import (
    Attribution,
    OperationKind,
    OperationRecord,
    ProductionEntry,
    ReleaseState,
)
from guardianflow.stored import Stored, first_of, read_stored

# They take 3,600 characters.
_FORMER_TOKENS = 200


class Former(Stored):
    """What a ledger run knows of those before it, so that they need not be read."""

    digest: str = Field(default="", description="Of the last entry of the run before.")
    tokens: dict[str, int] = Field(
        default_factory=dict[str, int],
        description="Numbers of the newest operations by their shortened tokens.",
    )

    @classmethod
    def after(cls, digest: str, former: "Former", records: Sequence[OperationRecord]) -> "Former":
        """What is to be known after the records of one more ledger run."""
        given = {short_token(r.by.token): r.seq for r in records if r.by.token}
        tokens = {**former.tokens, **given}
        newest = sorted(tokens.items(), key=lambda item: item[1])[-_FORMER_TOKENS:]
        return cls(digest=digest, tokens=dict(newest))


_Place = Annotated[
    tuple[StrictInt, StrictInt | None, StrictInt, StrictInt | None], BeforeValidator(first_of(4))
]
"""Champion, rollback, newest, source; numbers behind them are of a newer version."""


class Entry(Stored):
    """An operation as the ledger keeps it; names are short, "" is the base."""

    # Digests are made of the text: these fields in this order, for ever.
    seq: int = Field(description="Its number.")
    kind: str = Field(description="What it does; older code takes a kind that came later as other.")
    name: str = Field(description="The name that was asked for.")
    before: dict[str, _Place] = Field(description="The release state that it found.")
    after: dict[str, _Place] = Field(description="The one that it made.")
    actor: str = Field(description="Who.")
    reason: str = Field(description="Why.")
    time: str = Field(description="When, in ISO 8601 with a zone.")
    token: str = Field(description="Of the request, so that it counts once.")
    evidence: str = Field(default="", description="Digest of what was shown, or ''.")
    automatic: bool = Field(default=False, description="Whether no person asked.")
    nonce: str = Field(default="", description="Tells two writers of the same apart.")
    previous: str = Field(description="Digest of the entry before, as it was then.")

    def record(self, base: ModelName) -> OperationRecord:
        """The operation in words of the domain."""
        known = [kind for kind in OperationKind if kind.value == self.kind]
        return OperationRecord(
            seq=self.seq,
            kind=known[0] if known else OperationKind.OTHER,
            name=base.long(self.name),
            before=_state(base, self.before),
            after=_state(base, self.after),
            by=Attribution(
                self.actor, self.reason, self.token, self.evidence, automatic=self.automatic
            ),
            time=self.time,
            nonce=self.nonce,
        )


def short_token(token: str) -> str:
    """A token as keys hold it."""
    return hashlib.sha256(token.encode()).hexdigest()[:10]


def digest_of(entry: str) -> str:
    """What the next entry repeats."""
    return hashlib.sha256(entry.encode()).hexdigest()[:16]


def encode_entry(base: ModelName, record: OperationRecord, previous: str) -> str:
    """A record as text.

    Raises:
        InputError: The texts of the request are too long.
    """
    entry = Entry(
        seq=record.seq,
        kind=record.kind.value,
        name=base.short(record.name),
        before=_places(base, record.before),
        after=_places(base, record.after),
        **asdict(record.by),
        time=record.time,
        nonce=record.nonce,
        previous=previous,
    ).to_line()
    if len(entry) > MAX_VALUE:
        raise InputError(
            f"The operation takes {len(entry)} characters, more than {MAX_VALUE}.",
            remedy="Shorten the reason.",
        )
    return entry


def decode_entry(base: ModelName, seq: int, entry: str) -> tuple[OperationRecord, str]:
    """A record, and the digest of the one before it as it was then.

    An operation that older code must not go on from has a `min_reader`.

    Raises:
        ValueError: The text is no entry of that number.
        StoredNewer: It is for a newer version of guardianflow.
    """
    try:
        read = read_stored(Entry, entry, f"operation {seq} of {base}")
        record = read.record(base)
        for name in (record.name, *record.before, *record.after):
            ModelName.parse(name)
    except StoredNewer:
        raise
    except (StoredUnreadable, NameInvalid) as error:
        raise ValueError(error.message) from error
    if record.seq != seq:
        raise ValueError(f"it calls itself {record.seq}")
    # Whoever reads it compares times of several zones.
    if datetime.fromisoformat(record.time).tzinfo is None:
        raise ValueError(f"its time {record.time} is of no zone")
    return record, read.previous


def _places(
    base: ModelName, state: ReleaseState
) -> dict[str, tuple[int, int | None, int, int | None]]:
    return {
        base.short(name): (entry.champion, entry.rollback, entry.newest, entry.source)
        for name, entry in state.items()
    }


def _state(
    base: ModelName, places: Mapping[str, tuple[int, int | None, int, int | None]]
) -> ReleaseState:
    return {base.long(short): ProductionEntry(*numbers) for short, numbers in places.items()}
