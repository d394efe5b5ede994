"""Carries out a rotation: read, decide, commit to the ledger, project onto the aliases.

    finish what was interrupted -> read head and aliases -> rules -> verify files
        -> commit (the operation is decided) -> aliases -> tags -> done

Killed at any point before the commit, nothing has happened; at any point after it, the next
command of anybody finishes the operation. Several names cannot move at once in MLflow: a release
is half moved until then, but every name has a champion at every moment.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from mlflow import MlflowClient

from guardianflow.artifacts import verify_version
from guardianflow.catalog import (
    REASON_TAG,
    ROLLED_BACK,
    STATUS_TAG,
    ModelSummary,
    RegisteredModelInfo,
    read_release_models,
    read_version,
)
from guardianflow.connection import border, write_repeatably
from guardianflow.errors import (
    AliasDrift,
    LedgerDamaged,
    PermissionDenied,
    RegistryUnavailable,
    ReleaseChanged,
    RotationConflict,
    VersionNotReady,
)
from guardianflow.names import ModelName
from guardianflow.release.aliases import write_aliases
from guardianflow.release.interruption import answered, answers, when_finished
from guardianflow.release.ledger import Head, Ledger
from guardianflow.release.mirror import HEAD_TAG, encode_mirror, read_mirror
from guardianflow.release.outcome import Operation, Plan, champion_of, nothing_to_do, operation_of
from guardianflow.release.request import UNSET, Request
from guardianflow.release.rotation import (
    Past,
    check_expected,
    find_drift,
    projected,
    rescue,
)
from guardianflow.release.state import (
    Decision,
    Drift,
    Kind,
    ModelAlias,
    Move,
    Record,
    Situation,
)

_ATTEMPTS = 6
# Another writer may be about to finish: what looks like drift for less than this is none.
_DRIFT_PATIENCE_S = (0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Inspection:
    """One release as it is in MLflow: its newest operation, its models, and what differs."""

    head: Head
    models: Mapping[str, ModelSummary]
    drift: tuple[Drift, ...]
    """Empty while an operation is interrupted: what its aliases are to be is known."""


Rule = Callable[[Situation, Past], Decision]


class Release:
    """One release on an MLflow server: a base model and the variants made from it."""

    def __init__(self, client: MlflowClient, base: ModelName) -> None:
        self._client = client
        self._base = base
        self._ledger = Ledger(client, base)
        self._versions: dict[tuple[str, int], RegisteredModelInfo] = {}
        self._gone: set[tuple[str, int]] = set()

    def finish(self) -> Record | None:
        """Finish the newest operation if it was interrupted, and return it then.

        Raises:
            RegistryUnavailable: The server went away; the next command goes on.
        """
        head = self._read()
        if head.interrupted:
            self._project(head)
        return head.interrupted

    def plan(self, request: Request, rule: Rule, *, write: bool = True) -> Plan:
        """What a request would do; what was interrupted is finished before.

        A request that asks for just what was interrupted has nothing left to do: repeating a
        rollback that was killed must not go back twice.

        Args:
            request: Who asks for what.
            rule: Decides.
            write: Finish what was interrupted; off, it is only planned as if it were finished.

        Raises:
            Refused: A rule says no.
        """
        finished = self.finish() if write else None
        head, models = self._observe()
        if head.interrupted:
            # Not to be written, or of somebody who committed it this moment.
            finished = head.interrupted
            models = when_finished(finished, models)
        else:
            self._check_drift(head, models, request)
        warnings: list[str] = []
        if finished is not None:
            done = "is finished first" if head.interrupted else "is finished now"
            warnings.append(f"{operation_of(finished, f'was interrupted and {done}').message}")
            if answers(finished, request):
                return answered(finished, request, warnings)
        decision = self._decide(head, models, request, rule)
        moved = decision.moved().get(request.name.public)
        names = sorted(decision.after)
        return Plan(
            kind=request.kind.value,
            model_name=request.name.public,
            version=moved[1] if moved else request.version,
            champion={name: champion_of(decision.before, name) for name in names},
            moves=decision.moves,
            warnings=(*warnings, *decision.warnings),
        )

    def perform(self, request: Request, rule: Rule) -> Operation:
        """Carry out a request, once for its token, however often it is repeated.

        Raises:
            Refused: A rule says no; nothing was changed.
            RegistryUnavailable: The server went away; the next command goes on.
        """
        request.check()
        request = replace(request, token=request.token or uuid.uuid4().hex)
        finished: Record | None = None
        for _ in range(_ATTEMPTS):
            head, models = self._observe(trusting_ledger=request.kind is Kind.ADOPT)
            if head.interrupted:
                self._project(head)
                finished = head.record
                continue
            if done := self._ledger.find_token(head, request.token):
                return operation_of(done, "was done before")
            if finished is not None and answers(finished, request):
                return operation_of(finished, "was interrupted and is finished now")
            if request.kind is not Kind.ADOPT:
                self._check_drift(head, models, request)
            if request.expected_champion is not UNSET:
                check_expected(head.state, request.name.public, request.expected_champion)
            decision = self._decide(head, models, request, rule)
            expected = request.expected_moves
            if expected is not None and decision.moved() != dict(expected):
                raise ReleaseChanged(request.name.public, expected, decision.moved())
            if not decision.changed:
                return nothing_to_do(_record(request, decision, head.seq))
            self._verify(decision)
            try:
                head = self._ledger.commit(head, _record(request, decision))
            except RotationConflict:
                continue
            self._project(head)
            return operation_of(head.records[0])
        raise self._conflict()

    def history(self) -> list[Operation]:
        """Every operation, oldest first."""
        return [operation_of(record) for record in reversed(list(self._ledger.past(self._read())))]

    def inspect(self) -> Inspection:
        """What the ledger and the aliases say now, read together; nothing is written.

        Raises:
            LedgerDamaged: The ledger was deleted, cut or edited.
        """
        head, models = self._observe()
        drift = () if head.interrupted else find_drift(head.state, _aliases(models))
        return Inspection(head, models, drift)

    def repair(self, request: Request) -> Operation:
        """Put the aliases back where the ledger says, as an operation that says who and why.

        Raises:
            AliasDrift: The ledger knows no operation, so it has nothing to keep.
            VersionNotReady: A version that an alias is to name was deleted.
        """
        request.check()
        finished = self.finish()
        head, models = self._observe(trusting_ledger=True)
        if head.record is None:
            raise AliasDrift(
                f"The ledger knows no operation of {self._base}.",
                remedy=f"`guardianflow repair {self._base} --keep mlflow --reason ...` adopts the "
                "aliases.",
                name=self._base.public,
            )
        if request.token and (done := self._ledger.find_token(head, request.token)):
            return operation_of(done, "was done before")
        drift = find_drift(head.state, _aliases(models))
        record = _record(request, Decision(Kind.REPAIR, self._base.public, head.state, head.state))
        if not drift and self._mirrors(head, models):
            said = (
                f"; operation {finished.seq} was interrupted and is finished now"
                if finished
                else ""
            )
            message = (
                f"The aliases of {self._base} are as the ledger says: nothing was to mend{said}."
            )
            return replace(operation_of(record), changed=False, message=message)
        for found in drift:
            # Once committed it has to come to its end: what is gone is refused before.
            if found.expected is not None:
                read_version(self._client, ModelName.parse(found.name), found.expected)
        head = self._ledger.commit(head, record)
        self._project(head)
        mended = tuple(Move(d.name, d.alias, d.actual, d.expected) for d in drift)
        operation = operation_of(head.records[0])
        said = "; ".join(str(found) for found in drift) or "the mirror differed from the ledger"
        return replace(operation, moves=mended, message=f"{operation.message} Before: {said}.")

    def rescue(self, request: Request) -> Operation | None:
        """Give every name its @champion back that has none in MLflow any more; None if all have.

        An alias that was deleted by hand is put back where the ledger says, with the others of the
        release; where the version itself was deleted, the release goes back to the last good state.

        Raises:
            NoRollbackTarget: The version was deleted, and no former champion is left.
            ArtifactMissing: A file of the version to restore is gone or differs.
        """
        request.check()
        for _ in range(_ATTEMPTS):
            head, models = self._observe()
            if head.interrupted:
                self._project(head)
                continue
            situation = self._situation(head, models, request)
            if not situation.empty:
                return None
            for name in situation.empty:
                self._look_for(name, head.state[name].champion)
            decision = self._decide(head, models, request, rescue)
            self._verify(decision)
            try:
                head = self._ledger.commit(head, _record(request, decision))
            except RotationConflict:
                continue
            self._project(head)
            operation = operation_of(head.records[0])
            said = ", ".join(situation.empty)
            return replace(operation, message=f"{operation.message} @champion of {said} was gone.")
        raise self._conflict()

    def refresh_mirror(self) -> bool:
        """Write the mirror again if it is older than the ledger; whether that was so."""
        head, models = self._observe()
        if head.record is None or head.interrupted or self._mirrors(head, models):
            return False
        self._write_mirror(head)
        return True

    def _read(self) -> Head:
        return self._ledger.read()

    def _observe(self, *, trusting_ledger: bool = False) -> tuple[Head, dict[str, ModelSummary]]:
        """The head and the aliases that belong together: read until no operation came between."""
        head = self._read()
        for _ in range(_ATTEMPTS):
            models = read_release_models(self._client, self._base)
            again = self._read()
            if again.seq == head.seq and again.interrupted == head.interrupted:
                if not trusting_ledger:
                    self._check_tail(again, models)
                return again, models
            head = again
        raise self._conflict()

    def _conflict(self) -> RotationConflict:
        return RotationConflict(
            f"Others kept changing the release {self._base}; nothing was changed by this request.",
            remedy="Look at `guardianflow history` and try again.",
            name=self._base.public,
        )

    def _check_tail(self, head: Head, models: Mapping[str, ModelSummary]) -> None:
        """Compare the ledger with its mirror: a cut tail or a changed newest entry shows here."""
        base = models.get(self._base.public)
        mirror = read_mirror(base) if base else None
        if mirror is None or mirror.seq < head.seq:
            return
        if mirror.seq > head.seq:
            what = f"ends at operation {head.seq}, but operation {mirror.seq} was done"
        elif mirror.digest != head.digest:
            what = f"holds another operation {head.seq} than the one that was done"
        else:
            return
        raise LedgerDamaged(
            f"The ledger of {self._base} {what}: the tag {HEAD_TAG} of the model says so.",
            remedy="Restore the deleted ledger run (`mlflow runs restore`) or the back-up of "
            "MLflow's database. If the ledger is right and the tag was edited: "
            f'`guardianflow repair {self._base} --keep ledger --reason "..."`.',
            name=self._base.public,
        )

    def _mirrors(self, head: Head, models: Mapping[str, ModelSummary]) -> bool:
        base = models.get(self._base.public)
        return base is None or base.tags.get(HEAD_TAG, "") == self._mirror_of(head)

    def _mirror_of(self, head: Head) -> str:
        return encode_mirror(self._base, head.seq, head.digest, head.state)

    def _check_drift(
        self, head: Head, models: Mapping[str, ModelSummary], request: Request
    ) -> None:
        """Refuse to build on aliases that somebody moved by hand.

        A rollback goes on where aliases are only missing: an emergency does not wait for a repair.

        Raises:
            AliasDrift: An alias is not where the last operation put it.
        """
        drift = find_drift(head.state, _aliases(models))
        if request.kind is Kind.ROLLBACK and all(found.actual is None for found in drift):
            for found in drift:
                self._look_for(found.name, found.expected)
            return
        for pause in _DRIFT_PATIENCE_S:
            if not drift:
                return
            time.sleep(pause)
            now, models = self._observe()
            drift = () if now.interrupted else find_drift(now.state, _aliases(models))
        if drift:
            raise AliasDrift(
                f"{'; '.join(str(found) for found in drift)}. Somebody moved it without "
                "guardianflow; nothing was changed.",
                remedy=f"`guardianflow repair {self._base} --keep ledger` puts it back, "
                "`--keep mlflow` accepts it.",
                drift=[asdict(found) for found in drift],
            )

    def _decide(
        self, head: Head, models: Mapping[str, ModelSummary], request: Request, rule: Rule
    ) -> Decision:
        """What the rule says; a way back never leads to a version that was deleted in MLflow."""
        while True:
            situation = self._situation(head, models, request)
            decision = rule(situation, lambda: self._ledger.past(head))
            if decision.kind is not Kind.ROLLBACK:
                return decision
            known = len(self._gone)
            for name, (_, version) in decision.moved().items():
                self._look_for(name, version)
            if len(self._gone) == known:
                return decision

    def _look_for(self, name: str, version: int | None) -> None:
        """Remember a version that does not exist any more."""
        if version is None:
            return
        try:
            self._version(name, version)
        except VersionNotReady:
            self._gone.add((name, version))

    def _situation(
        self, head: Head, models: Mapping[str, ModelSummary], request: Request
    ) -> Situation:
        """What the rules look at; only versions that could move are asked for."""
        aliases = _aliases(models)
        wanted = {
            (name, present[alias])
            for name, present in aliases.items()
            for alias in (ModelAlias.CANDIDATE, ModelAlias.CHAMPION)
            if alias in present and (alias is ModelAlias.CANDIDATE or request.kind is Kind.ADOPT)
        }
        if request.version is not None:
            wanted.add((request.name.public, request.version))
        sources = {
            (name, version): self._source(name, version)
            for name, version in wanted
            if request.kind is not Kind.ROLLBACK
            and ModelName.parse(name).is_variant
            and (request.kind is Kind.ADOPT or champion_of(head.state, name) != version)
        }
        return Situation(
            self._base.public,
            head.state,
            aliases,
            sources,
            gone=frozenset(self._gone),
            now=datetime.now(UTC),
        )

    def _source(self, name: str, version: int) -> int | None:
        return self._version(name, version).source_version

    def _version(self, name: str, version: int) -> RegisteredModelInfo:
        """A version as it was read first: it is asked for by the rules and by the checks."""
        if (name, version) not in self._versions:
            info = read_version(self._client, ModelName.parse(name), version)
            self._versions[name, version] = info
        return self._versions[name, version]

    def _verify(self, decision: Decision) -> None:
        """Check that every version that becomes champion is there, whole and READY.

        Raises:
            VersionNotReady: A version is gone or was never finished.
            ArtifactMissing: A file of a version is gone or differs.
        """
        for name, (_, version) in decision.moved().items():
            info = self._version(name, version)
            if not info.ready:
                raise VersionNotReady(
                    f"{name} version {version} is not READY in MLflow.",
                    remedy="Register it again with `guardianflow run SCENARIO --type train "
                    "--version vN` (or --type quant).",
                    name=name,
                    version=version,
                )
            verify_version(self._client, info)

    def _project(self, head: Head) -> None:
        """Bring the aliases where the newest operation wants them; repeating it is harmless."""
        record = head.record
        if record is None:
            return
        try:
            while True:
                models = read_release_models(self._client, self._base)
                aliases = _aliases(models)
                candidates = {n: a.get(ModelAlias.CANDIDATE) for n, a in aliases.items()}
                wanted = projected(record.kind, record.before, record.after, candidates)
                lost = write_aliases(self._client, record.kind, wanted, aliases)
                newest = self._read()
                if newest.record is None or newest.seq == record.seq:
                    break
                # Somebody went on while we wrote: what we wrote may be stale, theirs counts.
                head, record = newest, newest.record
            self._tag_versions(record)
            self._write_mirror(head)
            self._ledger.mark_done(record.seq)
        except (RegistryUnavailable, PermissionDenied) as error:
            raise type(error)(
                f"Operation {record.seq} ({record.kind} of {record.name}) is decided, but not all "
                f"of its aliases are written: {error.message}",
                remedy="Run the same command again: the next command finishes the operation.",
                seq=record.seq,
            ) from error
        if lost:
            raise VersionNotReady(
                f"Operation {record.seq} ({record.kind} of {record.name}) is decided, but the "
                f"version to be champion of {', '.join(lost)} was deleted in MLflow meanwhile.",
                remedy=f'`guardianflow repair {self._base} --keep mlflow --reason "..."` accepts '
                "the champion that is there.",
                seq=record.seq,
            )

    def _tag_versions(self, record: Record) -> None:
        """Say on the versions what happened to them: for people, and as a cross-check."""
        left = ROLLED_BACK if record.kind is Kind.ROLLBACK else "former"
        for public, (before, after) in sorted(record.moved().items()):
            name = ModelName.parse(public)
            self._tag(name, after, STATUS_TAG, "champion")
            if before is not None:
                self._tag(name, before, STATUS_TAG, left)
                if record.kind is Kind.ROLLBACK:
                    self._tag(name, before, REASON_TAG, record.reason or "rolled back")

    def _write_mirror(self, head: Head) -> None:
        with border(f"mirror operation {head.seq} of {self._base}"):
            write_repeatably(
                lambda: self._client.set_registered_model_tag(
                    self._base.registered, HEAD_TAG, self._mirror_of(head)
                )
            )

    def _tag(self, name: ModelName, version: int, key: str, value: str) -> None:
        try:
            with border(f"tag {name} version {version}"):
                write_repeatably(
                    lambda: self._client.set_model_version_tag(
                        name.registered, str(version), key, value
                    )
                )
        except VersionNotReady:
            # Deleted behind our back: there is nothing left to tag.
            return


def _aliases(models: Mapping[str, ModelSummary]) -> dict[str, Mapping[str, int]]:
    return {name: model.aliases for name, model in models.items()}


def _record(request: Request, decision: Decision, seq: int = 0) -> Record:
    return Record(
        seq=seq,
        kind=decision.kind,
        name=decision.name,
        before=decision.before,
        after=decision.after,
        actor=request.actor,
        reason=request.reason,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        token=request.token,
        evidence=request.evidence,
        automatic=request.automatic,
    )
