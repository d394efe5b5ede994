"""What stands in the params of the ledger, as text. Pure: no I/O.

    op.000007  {"seq": 7, "kind": "promote", ..., "previous": "<digest of operation 6>"}
    former     {"digest": "<that of operation 50>", "tokens": {"<digest of a token>": 50, ...}}

Every entry repeats the digest of the one before, across ledger runs too: nothing can be changed in
the middle without being found. `former` says what a ledger run has to know of those before it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from guardianflow.errors import InputError, NameInvalid
from guardianflow.names import ModelName
from guardianflow.release.state import Kind, Place, Record, ReleaseState
from guardianflow.release.write_once import MAX_VALUE
from guardianflow.stored import require_reader

# They take 3,600 characters.
_FORMER_TOKENS = 200


@dataclass(frozen=True)
class Former:
    """What a ledger run knows of those before it, so that they need not be read."""

    digest: str = ""
    """Of the last entry of the run before."""
    tokens: Mapping[str, int] = field(default_factory=dict[str, int])
    """Numbers of the newest operations by their shortened tokens."""

    @classmethod
    def after(cls, digest: str, former: "Former", records: Sequence[Record]) -> "Former":
        """What is to be known after the records of one more ledger run."""
        tokens = {**former.tokens, **{short_token(r.token): r.seq for r in records if r.token}}
        newest = sorted(tokens.items(), key=lambda item: item[1])[-_FORMER_TOKENS:]
        return cls(digest, dict(newest))

    @classmethod
    def from_text(cls, text: str) -> "Former":
        """Read the param.

        Raises:
            ValueError: The text is none.
        """
        try:
            content = cast("dict[str, object]", json.loads(text))
            tokens = cast("Mapping[str, int]", content["tokens"])
            return cls(str(content["digest"]), {key: int(seq) for key, seq in tokens.items()})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(repr(error)) from error

    def to_text(self) -> str:
        """What stands in the param."""
        content = {"digest": self.digest, "tokens": dict(self.tokens)}
        return json.dumps(content, separators=(",", ":"))

    def find(self, token: str) -> int | None:
        """The number of the operation with a token, if it was a recent one."""
        return self.tokens.get(short_token(token))


def short_token(token: str) -> str:
    """A token as keys hold it."""
    return hashlib.sha256(token.encode()).hexdigest()[:10]


def digest_of(entry: str) -> str:
    """What the next entry repeats."""
    return hashlib.sha256(entry.encode()).hexdigest()[:16]


def encode(base: ModelName, record: Record, previous: str) -> str:
    """A record as text.

    Raises:
        InputError: The texts of the request are too long.
    """
    content = {
        "seq": record.seq,
        "kind": record.kind.value,
        "name": base.short(record.name),
        "before": _encode_state(base, record.before),
        "after": _encode_state(base, record.after),
        "actor": record.actor,
        "reason": record.reason,
        "time": record.time,
        "token": record.token,
        "evidence": record.evidence,
        "automatic": record.automatic,
        "nonce": record.nonce,
        "previous": previous,
    }
    entry = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    if len(entry) > MAX_VALUE:
        raise InputError(
            f"The operation takes {len(entry)} characters, more than {MAX_VALUE}.",
            remedy="Shorten the reason.",
        )
    return entry


def decode(base: ModelName, seq: int, entry: str) -> tuple[Record, str]:
    """A record, and the digest of the one before it as it was then.

    Keys that it does not know say nothing to this version, nor do numbers behind those of a place;
    an operation that older code must not go on from has a `min_reader`.

    Raises:
        ValueError: The text is no entry of that number.
        StoredUnreadable: It is for a newer version of guardianflow.
    """
    try:
        content = cast("dict[str, object]", json.loads(entry))
        require_reader(content, f"operation {seq} of {base}")
        known = [kind for kind in Kind if kind.value == content["kind"]]
        record = Record(
            seq=seq,
            kind=known[0] if known else Kind.OTHER,
            name=base.long(str(content["name"])),
            before=_decode_state(base, content["before"]),
            after=_decode_state(base, content["after"]),
            actor=str(content["actor"]),
            reason=str(content["reason"]),
            time=str(content["time"]),
            token=str(content["token"]),
            evidence=str(content["evidence"]),
            automatic=bool(content["automatic"]),
            nonce=str(content["nonce"]),
        )
        number, previous = content["seq"], str(content["previous"])
        for name in (record.name, *record.before, *record.after):
            ModelName.parse(name)
    except (KeyError, TypeError, AttributeError, RecursionError, NameInvalid) as error:
        raise ValueError(repr(error)) from error
    if number != seq:
        raise ValueError(f"it calls itself {number}")
    # Whoever reads it compares times of several zones.
    if datetime.fromisoformat(record.time).tzinfo is None:
        raise ValueError(f"its time {record.time} is of no zone")
    return record, previous


def _encode_state(base: ModelName, state: ReleaseState) -> dict[str, list[int | None]]:
    return {
        base.short(name): [place.champion, place.rollback, place.newest, place.source]
        for name, place in state.items()
    }


def _decode_state(base: ModelName, content: object) -> ReleaseState:
    places = cast("Mapping[str, list[int | None]]", content)
    state: dict[str, Place] = {}
    for short, (champion, rollback, newest, source, *_) in places.items():
        if champion is None or newest is None:
            raise ValueError(f"a champion of {short!r} is missing")
        numbers = (number for number in (champion, rollback, newest, source) if number is not None)
        if not all(type(number) is int for number in numbers):
            raise ValueError(f"a version of {short!r} is no number")
        state[base.long(short)] = Place(champion, rollback, newest, source)
    return state
