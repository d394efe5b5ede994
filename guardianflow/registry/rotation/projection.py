"""Brings aliases, tags and mirror where a committed operation wants them; repeating is harmless.

    mirror -> aliases -> head read again -> tags -> done
                 ^              |
                 +--------------+ somebody went on: theirs counts, the mirror says so before done

Until `done` is written the operation counts as interrupted, and the next command of anybody does
all of this again. The mirror comes first: every listing of models has it beside the aliases, so an
operation that was killed before its first alias moved is seen there, too.
"""

from collections.abc import Mapping
from contextlib import suppress

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag

from guardianflow.errors import PermissionDenied, RegistryUnavailable, VersionNotReady
from guardianflow.mlflow_store.client import border, registry_store, write_repeatably
from guardianflow.mlflow_store.registered_models import (
    CHAMPION_STATUS,
    FORMER_STATUS,
    REASON_TAG,
    ROLLED_BACK,
    STATUS_TAG,
    read_release_models,
)
from guardianflow.names import ModelName
from guardianflow.registry.ledger.head import LedgerHead
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.ledger.mirror import HEAD_TAG, encode_mirror
from guardianflow.registry.release_state import Aliases, ModelAlias, OperationKind, OperationRecord
from guardianflow.registry.rotation.aliases import write_candidates, write_production
from guardianflow.registry.rotation.rules import projected


class Projector:
    """Writes what the ledger of one release says."""

    def __init__(self, client: MlflowClient, base: ModelName, ledger: Ledger) -> None:
        self._client = client
        self._store = registry_store(client)
        self._base = base
        self._ledger = ledger

    def project(self, head: LedgerHead) -> None:
        """Bring everything where the newest operation wants it.

        Raises:
            RegistryUnavailable: The server went away; the next command goes on.
            PermissionDenied: The account may not write aliases; an operator's next command goes on.
            VersionNotReady: The version to be champion was deleted meanwhile.
        """
        record = head.record
        if record is None:
            return
        mirrored: LedgerHead | None = None
        try:
            # Its aliases matter more, also where there is no base model, or this account may move
            # those of a variant alone: what was refused here is told when they are written.
            with suppress(VersionNotReady, PermissionDenied):
                self.write_mirror(head)
                mirrored = head
            head, record, lost = self._write_aliases(head, record)
            self._tag_versions(record)
            if head is not mirrored:
                self.write_mirror(head)
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

    def write_mirror(self, head: LedgerHead) -> None:
        """Say on the base model what the newest operation made of the release."""
        text = encode_mirror(self._base, head.seq, head.digest, head.state)
        tag = RegisteredModelTag(HEAD_TAG, text)
        with border(f"mirror operation {head.seq} of {self._base}"):
            write_repeatably(
                lambda: self._store.set_registered_model_tag(self._base.registered, tag)
            )

    def _write_aliases(
        self, head: LedgerHead, record: OperationRecord
    ) -> tuple[LedgerHead, OperationRecord, list[str]]:
        """Write the aliases; whose operation they are, and the names that lack their version."""
        while True:
            wanted, present = self._wanted_aliases(record)
            lost = write_production(self._client, record.kind, wanted, present)
            # A registration may have come between: it is asked as late as can be.
            wanted, present = self._wanted_aliases(record)
            write_candidates(self._client, wanted, present)
            newest = self._ledger.read()
            if newest.record is None or newest.seq == record.seq:
                return head, record, [name for name in lost if name in record.moved()]
            # Somebody went on while we wrote: what we wrote may be stale, theirs counts.
            head, record = newest, newest.record

    def _wanted_aliases(
        self, record: OperationRecord
    ) -> tuple[dict[str, Aliases], dict[str, Mapping[str, int]]]:
        """What the aliases are to name after an operation, and what they name now."""
        models = read_release_models(self._client, self._base)
        aliases = {name: model.aliases for name, model in models.items()}
        candidates = {name: now.get(ModelAlias.CANDIDATE) for name, now in aliases.items()}
        return projected(record.kind, record.before, record.after, candidates), aliases

    def _tag_versions(self, record: OperationRecord) -> None:
        """Say on the versions what happened to them: for people, and as a cross-check."""
        left = ROLLED_BACK if record.kind is OperationKind.ROLLBACK else FORMER_STATUS
        for public, (before, after) in sorted(record.moved().items()):
            name = ModelName.parse(public)
            self._tag(name, after, STATUS_TAG, CHAMPION_STATUS)
            if before is not None:
                self._tag(name, before, STATUS_TAG, left)
                if record.kind is OperationKind.ROLLBACK:
                    self._tag(name, before, REASON_TAG, record.by.reason or "rolled back")

    def _tag(self, name: ModelName, version: int, key: str, value: str) -> None:
        tag = ModelVersionTag(key, value)
        # Where it was deleted behind our back, there is nothing left to tag.
        with suppress(VersionNotReady), border(f"tag {name} version {version}"):
            write_repeatably(
                lambda: self._store.set_model_version_tag(name.registered, str(version), tag)
            )
