"""The write-once log of operations on MLflow: what was promoted and rolled back, by whom and why.

    experiment guardianflow.ledger
      index run      <registered base>/<segment> -> id of a ledger run     (write-once params)
      ledger run     op.000007 -> the operation as JSON, done.000007       (write-once params)

Aliases have no compare-and-swap, but a param of a run is write-once: whoever writes `op.000007`
first has made operation 7, and everybody else reads that. Which entry goes into which ledger run
follows from its number alone, so two writers never commit the same number in different runs. The
answer to a write is never trusted: the param is read back.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from guardianflow.connection import COLLISION, border, write_repeatably
from guardianflow.errors import InputError, LedgerDamaged, RotationConflict
from guardianflow.names import ModelName
from guardianflow.release.state import Kind, Place, Record, ReleaseState

LEDGER_EXPERIMENT = "guardianflow.ledger"
SEGMENT_LENGTH = 50
"""Operations in one ledger run: reading the head costs the same after thousands of them."""
_INDEX_TAG = "guardianflow.index_run"
# MLflow silently cuts the value of a param at 6000 characters.
_MAX_ENTRY = 5900
_RESTORE = "Restore it with MLflow (`mlflow runs restore`, `mlflow experiments restore`)."


@dataclass(frozen=True)
class Head:
    """The newest operation and those before it in the same ledger run."""

    records: tuple[Record, ...]
    """Newest first."""
    done: frozenset[int]
    segment: int
    """The ledger run that holds the records; -1 while there is none."""
    digest: str
    """sha256 of the newest entry, which the next one repeats."""

    @property
    def record(self) -> Record | None:
        """The newest operation."""
        return self.records[0] if self.records else None

    @property
    def seq(self) -> int:
        """Its number; 0 while there is none."""
        return self.records[0].seq if self.records else 0

    @property
    def state(self) -> ReleaseState:
        """The release state that it made."""
        return self.records[0].after if self.records else {}

    @property
    def interrupted(self) -> Record | None:
        """The newest operation, if its aliases may be only half moved."""
        return None if self.seq in self.done else self.record


_EMPTY = Head((), frozenset({0}), -1, "")


class Ledger:
    """The operations of one release, shared by all processes through the MLflow server."""

    def __init__(self, client: MlflowClient, base: ModelName) -> None:
        self._client = client
        self._base = base
        self._index: str | None = None
        self._runs: list[str] = []

    def read(self) -> Head:
        """The newest operation, and those before it in the same ledger run.

        Raises:
            LedgerDamaged: An entry is missing, was changed, or its run was deleted.
        """
        if not self._runs:
            self._find_runs()
        while self._runs:
            segment = len(self._runs) - 1
            head = self._read_segment(segment)
            if head.seq == (segment + 1) * SEGMENT_LENGTH:
                self._find_runs()
                if len(self._runs) - 1 > segment:
                    continue
            if not head.records and segment > 0:
                # The next run was made, its first operation was never committed.
                return self._read_segment(segment - 1)
            return head
        return _EMPTY

    def past(self, head: Head) -> Iterator[Record]:
        """The operations from a head backwards, newest first; older runs are read when needed."""
        yield from head.records
        for segment in range(head.segment - 1, -1, -1):
            yield from self._read_segment(segment).records

    def find_token(self, head: Head, token: str) -> Record | None:
        """The operation with a token among the recent ones (at least one ledger run's length)."""
        for count, record in enumerate(self.past(head)):
            if record.token == token:
                return record
            if count >= 2 * SEGMENT_LENGTH:
                break
        return None

    def commit(self, head: Head, record: Record) -> Head:
        """Make a record the next operation after a head.

        Raises:
            RotationConflict: Somebody else made an operation first.
            LedgerDamaged: The server took the entry and then did not know it.
            PermissionDenied: The account may not write the ledger.
            InputError: The texts of the request are too long.
        """
        record = replace(record, seq=head.seq + 1, nonce=uuid.uuid4().hex)
        entry = self._encode(record, head.digest)
        segment = (record.seq - 1) // SEGMENT_LENGTH
        while len(self._runs) <= segment:
            self._create_run(len(self._runs))
        found = self._write_once(self._runs[segment], f"op.{record.seq:06d}", entry)
        if found != entry:
            raise RotationConflict(
                f"Somebody else changed the release {self._base} at the same moment.",
                remedy="Look at `guardianflow history` and try again.",
                name=self._base.public,
            )
        records = (record, *head.records) if segment == head.segment else (record,)
        return Head(records, head.done, segment, _digest(entry))

    def mark_done(self, seq: int) -> None:
        """Remember that every alias of an operation is where it belongs."""
        run_id = self._runs[(seq - 1) // SEGMENT_LENGTH]
        with border(f"mark operation {seq} of {self._base} as done"):
            write_repeatably(lambda: self._client.log_param(run_id, f"done.{seq:06d}", "1"))

    def _read_segment(self, segment: int) -> Head:
        run = self._get_run(self._runs[segment])
        entries = {
            int(key.removeprefix("op.")): value
            for key, value in run.data.params.items()
            if key.startswith("op.")
        }
        first = segment * SEGMENT_LENGTH + 1
        records: list[Record] = []
        digest = ""
        for seq in range(first, first + len(entries)):
            if seq not in entries:
                raise self._damaged(f"operation {seq} is missing", run)
            record, before = self._decode(seq, entries[seq], run)
            if seq > first and before != digest:
                raise self._damaged(f"operation {seq - 1} was changed", run)
            digest = _digest(entries[seq])
            records.append(record)
        done = frozenset(
            int(key.removeprefix("done.")) for key in run.data.params if key.startswith("done.")
        )
        return Head(tuple(reversed(records)), done | {0}, segment, digest)

    def _find_runs(self) -> None:
        """Read from the index which runs hold this release's operations."""
        if self._index is None:
            with border("look for the ledger"):
                experiment = self._client.get_experiment_by_name(LEDGER_EXPERIMENT)
            if experiment is None:
                return
            if experiment.lifecycle_stage != "active" or _INDEX_TAG not in experiment.tags:
                raise LedgerDamaged(
                    f"The experiment {LEDGER_EXPERIMENT} was deleted or lost its index.",
                    remedy=_RESTORE,
                )
            self._index = experiment.tags[_INDEX_TAG]
        params = self._get_run(self._index).data.params
        runs: list[str] = []
        while found := params.get(self._key(len(runs))):
            runs.append(found)
        self._runs = runs

    def _create_run(self, segment: int) -> None:
        """Make the ledger run of a segment, or take the one that another process made."""
        index = self._index or self._create_index()
        with border(f"create the ledger of {self._base}"):
            experiment = self._get_run(index).info.experiment_id
            run = self._client.create_run(
                experiment,
                run_name=f"{self._base.public} #{segment}",
                tags={"guardianflow.name": self._base.public},
            )
        mine = run.info.run_id
        elected = self._write_once(index, self._key(segment), mine)
        with border(f"create the ledger of {self._base}"):
            if elected == mine:
                self._client.update_run(mine, status="FINISHED")
            else:
                self._client.delete_run(mine)
        self._runs.append(elected)

    def _create_index(self) -> str:
        """Elect the index run: made under a passing name, published by a name that is unique."""
        with border("create the ledger"):
            passing = f"{LEDGER_EXPERIMENT}.{uuid.uuid4().hex}"
            experiment = self._client.create_experiment(passing)
            run = self._client.create_run(experiment, run_name="index")
            self._client.set_experiment_tag(experiment, _INDEX_TAG, run.info.run_id)
            try:
                self._client.rename_experiment(experiment, LEDGER_EXPERIMENT)
            except MlflowException:
                # Whatever the reason: if the name is taken now, somebody else was elected.
                published = self._client.get_experiment_by_name(LEDGER_EXPERIMENT)
                if published is None:
                    raise
                if published.experiment_id != experiment:
                    self._client.delete_experiment(experiment)
        self._index = None
        self._find_runs()
        if self._index is None:
            raise LedgerDamaged(
                f"MLflow took the experiment {LEDGER_EXPERIMENT} and then did not know it.",
                remedy="Try again.",
            )
        return self._index

    def _write_once(self, run_id: str, key: str, value: str) -> str:
        """Write a param unless it has a value, and return the value that it has now."""
        with border(f"write {key} to the ledger of {self._base}"):
            try:
                self._client.log_param(run_id, key, value)
            except MlflowException as error:
                # Somebody's other value is one of these, but so is much else: reading decides.
                if error.error_code not in ("INVALID_PARAMETER_VALUE", COLLISION):
                    raise
        run = self._get_run(run_id)
        found = run.data.params.get(key)
        if found is None:
            raise self._damaged(f"{key} was written and is not there", run)
        return found

    def _get_run(self, run_id: str) -> Run:
        with border(f"read the ledger of {self._base}"):
            run = self._client.get_run(run_id)
        if run.info.lifecycle_stage != "active":
            raise self._damaged("it was deleted", run)
        return run

    def _damaged(self, reason: str, run: Run) -> LedgerDamaged:
        return LedgerDamaged(
            f"The ledger of {self._base} (MLflow run {run.info.run_id}) cannot be trusted: "
            f"{reason}.",
            remedy=_RESTORE,
            name=self._base.public,
            run_id=run.info.run_id,
        )

    def _key(self, segment: int) -> str:
        return f"{self._base.registered}/{segment}"

    def _encode(self, record: Record, previous: str) -> str:
        content = {
            "seq": record.seq,
            "kind": record.kind.value,
            "name": self._short(record.name),
            "before": self._encode_state(record.before),
            "after": self._encode_state(record.after),
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
        if len(entry) > _MAX_ENTRY:
            raise InputError(
                f"The operation takes {len(entry)} characters, more than {_MAX_ENTRY}.",
                remedy="Shorten the reason.",
            )
        return entry

    def _encode_state(self, state: ReleaseState) -> dict[str, list[int | None]]:
        return {
            self._short(name): [place.champion, place.rollback, place.newest, place.source]
            for name, place in state.items()
        }

    def _decode(self, seq: int, entry: str, run: Run) -> tuple[Record, str]:
        try:
            content = cast("dict[str, object]", json.loads(entry))
            record = Record(
                seq=seq,
                kind=Kind(str(content["kind"])),
                name=self._long(str(content["name"])),
                before=self._decode_state(content["before"]),
                after=self._decode_state(content["after"]),
                actor=str(content["actor"]),
                reason=str(content["reason"]),
                time=str(content["time"]),
                token=str(content["token"]),
                evidence=str(content["evidence"]),
                automatic=bool(content["automatic"]),
                nonce=str(content["nonce"]),
            )
            if content["seq"] != seq:
                raise self._damaged(f"operation {seq} calls itself {content['seq']}", run)
            return record, str(content["previous"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(f"operation {seq} cannot be read ({error!r})", run) from error

    def _decode_state(self, content: object) -> ReleaseState:
        places = cast("Mapping[str, list[int | None]]", content)
        state: dict[str, Place] = {}
        for short, (champion, rollback, newest, source) in places.items():
            if champion is None or newest is None:
                raise ValueError(f"a champion of {short!r} is missing")
            state[self._long(short)] = Place(champion, rollback, newest, source)
        return state

    def _short(self, name: str) -> str:
        return name.removeprefix(self._base.public).removeprefix("__")

    def _long(self, short: str) -> str:
        return f"{self._base.public}__{short}" if short else self._base.public


def _digest(entry: str) -> str:
    return hashlib.sha256(entry.encode()).hexdigest()[:16]
