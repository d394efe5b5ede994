"""The write-once log of operations on MLflow: what was promoted and rolled back, by whom and why.

    experiment guardianflow.ledger
      index run      <registered base>/<segment> -> id of a ledger run     (write-once params)
      ledger run     op.000007 -> the operation as JSON, done.000007       (write-once params)
                     former -> digest and tokens of the runs before        (from the second run on)
                     also.<token> -> number of the operation that it asked for, too

Aliases have no compare-and-swap, but a param of a run is write-once: whoever writes `op.000007`
first has made operation 7, and everybody else reads that. Which entry goes into which ledger run
follows from its number alone, so two writers never commit the same number in different runs. The
answer to a write is never trusted: the param is read back. Every entry repeats the digest of the
one before; that of the newest stands on the base model (`mirror.py`).
"""

import re
import uuid
from collections.abc import Iterator
from dataclasses import replace

from mlflow import MlflowClient

from guardianflow.errors import (
    LedgerDamaged,
    RotationConflict,
    StoredNewer,
    StoredUnreadable,
)
from guardianflow.mlflow_store.client import border, write_repeatably
from guardianflow.names import ModelName
from guardianflow.registry.ledger.entry import (
    Former,
    decode_entry,
    digest_of,
    encode_entry,
    short_token,
)
from guardianflow.registry.ledger.head import LedgerHead
from guardianflow.registry.ledger.index import LEDGER_EXPERIMENT, known_bases, prepare_server
from guardianflow.registry.ledger.runs import FORMER, LedgerRuns
from guardianflow.registry.ledger.write_once import read_run, write_once
from guardianflow.registry.release_state import OperationKind, OperationRecord
from guardianflow.stored import LEDGER_SEGMENT_LENGTH, read_stored

__all__ = ["LEDGER_EXPERIMENT", "Ledger", "known_bases", "prepare_server"]

SEGMENT_LENGTH = LEDGER_SEGMENT_LENGTH
_ALSO = "also."
_EMPTY = LedgerHead((), frozenset({0}), -1, "")


class Ledger:
    """The operations of one release, shared by all processes through the MLflow server."""

    def __init__(self, client: MlflowClient, base: ModelName) -> None:
        self._client = client
        self._base = base
        self._what = f"the ledger of {base}"
        self._runs = LedgerRuns(client, base, self._what)

    def read(self) -> LedgerHead:
        """The newest operation, and those before it in the same ledger run.

        Raises:
            LedgerDamaged: An entry is missing, was changed, or its run was deleted.
            StoredNewer: An entry is for a newer version of guardianflow.
        """
        if not self._runs:
            self._runs.find()
        while self._runs:
            segment = len(self._runs) - 1
            head = self._read_segment(segment)
            if head.seq == (segment + 1) * SEGMENT_LENGTH:
                self._runs.find()
                if len(self._runs) - 1 > segment:
                    continue
            if not head.records and segment > 0:
                # The next run was made, its first operation was never committed.
                return self._read_full(segment - 1)
            return head
        return _EMPTY

    def past(self, head: LedgerHead) -> Iterator[OperationRecord]:
        """The operations from a head backwards, newest first; older runs are read when needed.

        Raises:
            LedgerDamaged: An older entry is missing or was changed, or its run was deleted.
        """
        yield from head.records
        for segment in range(head.segment - 1, -1, -1):
            older = self._read_full(segment)
            if head.previous != older.digest:
                raise self._damaged(f"operation {older.seq} was changed", self._runs[segment])
            yield from older.records
            head = older

    def verify(self) -> LedgerHead:
        """Read everything, in all ledger runs; the head if nothing speaks against it.

        Raises:
            LedgerDamaged: An entry or a run is missing, was changed, or is not named by the index.
        """
        self._runs.find()
        head = self.read()
        for _ in self.past(head):
            continue
        for run in self._runs.lost():
            if any(key.startswith("op.") for key in run.data.params):
                raise self._damaged("the index does not name it any more", run.info.run_id)
        return head

    def find_token(self, head: LedgerHead, token: str) -> OperationRecord | None:
        """The operation with a token among the recent ones (at least two hundred)."""
        records, short = head.records, short_token(token)
        if (seq := head.also.get(short)) is not None:
            return next((record for record in records if record.seq == seq), None)
        if (seq := head.former.tokens.get(short)) is not None:
            records += self._read_full((seq - 1) // SEGMENT_LENGTH).records
        return next((record for record in records if record.by.token == token), None)

    def commit(self, head: LedgerHead, record: OperationRecord) -> LedgerHead:
        """Make a record the next operation after a head.

        Raises:
            RotationConflict: Somebody else made an operation first.
            LedgerDamaged: The server took the entry and then did not know it.
            BackendUnfit: Params of this server do not stay as first written.
            PermissionDenied: The account may not write the ledger.
            InputError: The texts of the request are too long.
        """
        record = replace(record, seq=head.seq + 1, nonce=uuid.uuid4().hex)
        entry = encode_entry(self._base, record, head.digest)
        index = self._runs.make_ready(anew=record.kind is OperationKind.ADOPT)
        segment = (record.seq - 1) // SEGMENT_LENGTH
        former = head.former
        if segment > head.segment and head.records:
            former = Former.after(head.digest, head.former, head.records)
        if len(self._runs) <= segment:
            self._runs.create_next(index, former)
        key = f"op.{record.seq:06d}"
        run = write_once(self._client, self._runs[segment], key, entry, self._what)
        if run.data.params[key] != entry:
            raise RotationConflict(
                f"Somebody else changed the release {self._base} at the same moment.",
                remedy="Look at `guardianflow history` and try again.",
                name=self._base.public,
            )
        if segment == head.segment:
            return replace(head, records=(record, *head.records), digest=digest_of(entry))
        return LedgerHead((record,), head.done, segment, digest_of(entry), head.digest, former)

    def bind(self, head: LedgerHead, token: str) -> None:
        """Let a second token stand for the newest operation: its request is answered by it.

        Written before that operation is finished, so that whoever repeats the request finds it.
        """
        run_id = self._runs[head.segment]
        key = f"{_ALSO}{short_token(token)}"
        write_once(self._client, run_id, key, str(head.seq), self._what)

    def mark_done(self, seq: int) -> None:
        """Remember that every alias of an operation is where it belongs."""
        run_id = self._runs[(seq - 1) // SEGMENT_LENGTH]
        with border(f"mark operation {seq} of {self._base} as done"):
            write_repeatably(lambda: self._client.log_param(run_id, f"done.{seq:06d}", "1"))

    def _read_full(self, segment: int) -> LedgerHead:
        """A ledger run that others follow: it has to be full."""
        head = self._read_segment(segment)
        if head.seq != (segment + 1) * SEGMENT_LENGTH:
            missing = max(head.seq, segment * SEGMENT_LENGTH) + 1
            raise self._damaged(f"operation {missing} is missing", self._runs[segment])
        return head

    def _read_segment(self, segment: int) -> LedgerHead:
        run_id = self._runs[segment]
        params = read_run(self._client, run_id, self._what).data.params
        entries = _numbered(params, "op.")
        first = segment * SEGMENT_LENGTH + 1
        records: list[OperationRecord] = []
        previous = ""
        former = self._former(params.get(FORMER), run_id)
        try:
            digest = former.digest
            for seq in range(first, first + len(entries)):
                if seq not in entries:
                    raise self._damaged(f"operation {seq} is missing", run_id)
                record, before = decode_entry(self._base, seq, entries[seq])
                if before != digest and (records or former.digest):
                    raise self._damaged(f"operation {seq - 1} was changed", run_id)
                previous = previous if records else before
                digest = digest_of(entries[seq])
                records.append(record)
        except ValueError as error:
            number = first + len(records)
            raise self._damaged(f"operation {number} cannot be read ({error})", run_id) from error
        done = frozenset({0, *_numbered(params, "done.")})
        if max(done) >= first + len(records):
            raise self._damaged(f"operation {max(done)} was done and is missing", run_id)
        also = {
            key.removeprefix(_ALSO): int(seq)
            for key, seq in params.items()
            if key.startswith(_ALSO) and seq.isdecimal()
        }
        return LedgerHead(tuple(reversed(records)), done, segment, digest, previous, former, also)

    def _former(self, text: str | None, run_id: str) -> Former:
        if text is None:
            return Former()
        try:
            return read_stored(Former, text, f"param {FORMER} in {self._what}")
        except StoredNewer:
            raise
        except StoredUnreadable as error:
            raise self._damaged(f"its param {FORMER} cannot be read", run_id) from error

    def _damaged(self, reason: str, run_id: str) -> LedgerDamaged:
        return LedgerDamaged(
            f"The ledger of {self._base} (MLflow run {run_id}) cannot be trusted: {reason}.",
            remedy="Params change in the database alone: restore the back-up of MLflow's database.",
            name=self._base.public,
            run_id=run_id,
        )


def _numbered(params: "dict[str, str]", prefix: str) -> dict[int, str]:
    """The params of a kind by number; what somebody else wrote there has none and says nothing."""
    key = re.compile(rf"{re.escape(prefix)}([0-9]{{6,}})")
    return {int(found[1]): text for name, text in params.items() if (found := key.fullmatch(name))}
