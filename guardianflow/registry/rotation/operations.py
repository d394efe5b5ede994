"""Carries out a rotation: read, decide, commit to the ledger, project onto the aliases.

    finish what was interrupted -> read head and aliases -> rules -> verify files
        -> commit (the operation is decided) -> aliases -> tags -> done

Killed at any point before the commit, nothing has happened; at any point after it, the next
command of anybody finishes the operation. Several names cannot move at once in MLflow: a release
is half moved until then, but every name has a champion at every moment.
"""

import uuid
from dataclasses import replace
from datetime import UTC, datetime

from mlflow import MlflowClient

from guardianflow.errors import (
    ArtifactMissing,
    NoCandidate,
    NoRollbackTarget,
    ReleaseChanged,
    RotationConflict,
    VersionNotReady,
)
from guardianflow.mlflow_store.rights import require_alias_rights
from guardianflow.names import ModelName
from guardianflow.registry.ledger.head import LedgerHead
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.ledger.mirror import MirrorStatus
from guardianflow.registry.release_state import (
    Decision,
    OperationKind,
    OperationRecord,
    champion_of,
)
from guardianflow.registry.rotation.outcome import (
    Operation,
    Plan,
    mended,
    nothing_to_do,
    operation_of,
)
from guardianflow.registry.rotation.projection import Projector
from guardianflow.registry.rotation.release_reader import (
    ATTEMPTS,
    ReleaseReader,
    ReleaseSnapshot,
    VersionKey,
    conflict,
)
from guardianflow.registry.rotation.repetition import answered, answers, may_repeat, when_finished
from guardianflow.registry.rotation.request import MAX_TEXT, UNSET, RotationRequest
from guardianflow.registry.rotation.rules import Rule, check_expected


class Release:
    """One release on an MLflow server: a base model and the variants made from it."""

    def __init__(self, client: MlflowClient, base: ModelName) -> None:
        self._client = client
        self._base = base
        self._ledger = Ledger(client, base)
        self._reader = ReleaseReader(client, base, self._ledger)
        self._projector = Projector(client, base, self._ledger)

    def inspect(self) -> ReleaseSnapshot:
        """What the ledger and the aliases say now, read together; nothing is written.

        Raises:
            LedgerDamaged: The ledger was deleted, cut or edited.
        """
        return self._reader.inspect()

    def history(self) -> list[Operation]:
        """Every operation, oldest first."""
        past = self._ledger.past(self._ledger.read())
        return [operation_of(record) for record in reversed(list(past))]

    def finish(self) -> OperationRecord | None:
        """Finish the newest operation if it was interrupted, and return it then.

        Raises:
            RegistryUnavailable: The server went away; the next command goes on.
        """
        head = self._ledger.read()
        if head.interrupted:
            self._projector.project(head)
        return head.interrupted

    def plan(self, request: RotationRequest, rule: Rule, *, write: bool = True) -> Plan:
        """What a request would do; what was interrupted is finished before.

        A request that asks for just what was interrupted has nothing left to do: repeating a
        rollback that was killed must not go back twice. With `write` off nothing is finished, but
        it is planned as if it were.

        Raises:
            Refused: A rule says no.
        """
        finished = self.finish() if write else None
        seen = self._reader.inspect()
        interrupted = seen.head.interrupted
        if interrupted:
            # Not to be written, or of somebody who committed it this moment.
            finished = interrupted
            seen = replace(seen, models=when_finished(finished, seen.models))
        else:
            self._reader.check_drift(seen, request)
        warnings: list[str] = []
        if finished is not None:
            done = "is finished first" if interrupted else "is finished now"
            warnings.append(operation_of(finished, f"was interrupted and {done}").message)
            if answers(finished, request):
                return answered(finished, request, warnings)
        newest = seen.head.record
        repeated = newest if may_repeat(newest, request, datetime.now(UTC)) else None
        said = [f"{operation_of(repeated).message} That was a short time ago."] if repeated else []
        try:
            decision = self._reader.decide(seen, request, rule)
        except (NoCandidate, NoRollbackTarget):
            if repeated is None:
                raise
            return answered(repeated, request, [*warnings, *said])
        if repeated and request.kind is OperationKind.ROLLBACK:
            # A promotion that was repeated finds nothing to do; a rollback would go back twice.
            warnings += said
        moved = decision.moved().get(request.name.public)
        names = sorted(decision.after)
        return Plan(
            kind=request.kind.value,
            model_name=request.name.public,
            version=moved[1] if moved else request.version,
            champion={name: champion_of(decision.before, name) for name in names},
            moves=decision.moves,
            warnings=(*warnings, *decision.warnings),
            repeats=repeated.seq if repeated and request.kind is OperationKind.ROLLBACK else None,
        )

    def perform(self, request: RotationRequest, rule: Rule) -> Operation:
        """Carry out a request, once for its token, however often it is repeated.

        Raises:
            Refused: A rule says no; nothing was changed.
            RegistryUnavailable: The server went away; the next command goes on.
        """
        request.check()
        given = request.by.token
        request = replace(request, by=replace(request.by, token=given or uuid.uuid4().hex))
        finished: OperationRecord | None = None
        for _ in range(ATTEMPTS):
            seen = self._reader.inspect(trusting_ledger=request.is_mending)
            head = seen.head
            if head.interrupted:
                if given and answers(head.interrupted, request):
                    self._ledger.bind(head, given)
                self._projector.project(head)
                finished = head.record
                continue
            if given and (done := self._ledger.find_token(head, given)):
                return operation_of(done, "was done before")
            # A token says whose operation it is: what another began is no answer to it, or the same
            # token given again would make one more.
            if finished is not None and not given and answers(finished, request):
                return operation_of(finished, "was interrupted and is finished now")
            if request.kind in (OperationKind.PROMOTE, OperationKind.ROLLBACK):
                self._reader.check_drift(seen, request)
            if request.expected_champion is not UNSET:
                check_expected(head.state, request.name.public, request.expected_champion)
            decision = self._decide(seen, request, rule)
            if not decision.changed and not decision.mends:
                return nothing_to_do(_record(request, decision, head.seq), finished)
            if operation := self._commit(head, request, decision):
                return operation
        raise conflict(self._base)

    def _decide(self, seen: ReleaseSnapshot, request: RotationRequest, rule: Rule) -> Decision:
        """What the rule says, as it was asked for, with versions that are whole.

        A person is told of a version that is not; a rescue takes the next one.
        """
        unfit: set[VersionKey] = set()
        while True:
            decision = self._reader.decide(seen, request, rule, unfit)
            moved, expected = decision.moved(), request.expected_moves
            if expected is not None and moved != dict(expected):
                raise ReleaseChanged(request.name.public, expected, moved)
            for name, (_, version) in moved.items():
                try:
                    self._reader.verify(name, version)
                except (ArtifactMissing, VersionNotReady):
                    if not request.is_rescue:
                        raise
                    unfit.add((name, version))
                    break
            else:
                return decision

    def refresh_mirror(self) -> bool:
        """Write the mirror again if it is older than the ledger; whether that was so."""
        seen = self._reader.inspect()
        if seen.head.interrupted or seen.mirror is MirrorStatus.CURRENT:
            return False
        self._projector.write_mirror(seen.head)
        return True

    def _commit(
        self, head: LedgerHead, request: RotationRequest, decision: Decision
    ) -> Operation | None:
        """Decide it in the ledger, then write the aliases; None if somebody else was faster."""
        # Decided is decided: an account that could not carry it out is refused before.
        moving = [n for n, entry in decision.after.items() if entry != decision.before.get(n)]
        require_alias_rights(self._client, map(ModelName.parse, moving or decision.after))
        try:
            head = self._ledger.commit(head, _record(request, decision))
        except RotationConflict:
            return None
        self._projector.project(head)
        return mended(operation_of(head.records[0]), decision)


def _record(request: RotationRequest, decision: Decision, seq: int = 0) -> OperationRecord:
    # What a rescue found is part of the record: it may mend what somebody moved by hand, too.
    found = f": {decision.mends}" if request.is_rescue else ""
    by = replace(request.by, reason=f"{request.by.reason}{found}"[:MAX_TEXT])
    return OperationRecord(
        seq=seq,
        kind=decision.kind,
        name=decision.name,
        before=decision.before,
        after=decision.after,
        by=by,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
