"""ModelRegistryManager: the public face of the model registry.

    register_model      -> @candidate
    promote_to_champion -> @champion; the former champion -> @rollback
    rollback            -> the former champion is @champion again

It says who asks for what, and decides nothing: the rules, the log and the writes are behind
`rotation/operations.py`. Names may be public (slashes), registered (dots) or a
`ModelName`.
"""

import getpass
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from mlflow import MlflowClient

from guardianflow.errors import InputError, NoCandidate
from guardianflow.mlflow_store.artifacts import download_version
from guardianflow.mlflow_store.client import border, connect, write_repeatably
from guardianflow.mlflow_store.registered_models import (
    ModelSummary,
    RegisteredModelInfo,
    check_registered,
    read_aliases,
    read_models,
    read_version,
    read_versions,
)
from guardianflow.names import ModelName
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.registration import register
from guardianflow.registry.release_state import Attribution, Drift, ModelAlias, OperationKind
from guardianflow.registry.rotation.operations import Release
from guardianflow.registry.rotation.outcome import Operation, Plan
from guardianflow.registry.rotation.request import UNSET, ChampionMoves, Expected, RotationRequest
from guardianflow.registry.rotation.rules import (
    adopt,
    plan_promotion,
    plan_repair,
    plan_rollback,
    rescue,
)


class ModelRegistryManager:
    """The registered models of one MLflow server.

    Args:
        tracking_uri: Address of the server; None takes `MLFLOW_TRACKING_URI`, or what `make up`
            left behind.

    Raises:
        RegistryUnavailable: Nobody answers there.
        InputError: No server is named, or the address is not that of one.
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.client: MlflowClient = connect(tracking_uri)

    def register_model(
        self,
        run_id: str,
        artifact_path: str,
        model_name: str | ModelName,
        alias: ModelAlias = ModelAlias.CANDIDATE,
        tags: Mapping[str, str] | None = None,
        *,
        token: str | None = None,
    ) -> RegisteredModelInfo:
        """Register what a run made as a new version, once, and let @candidate name it.

        Args:
            run_id: The MLflow run.
            artifact_path: Name of a LoggedModel of the run, or a path of the run's artifacts, of
                which a LoggedModel is made.
            model_name: Base, or a variant whose tags name its `guardianflow.source_version`.
            alias: @candidate; the other aliases move by promotion and rollback alone.
            tags: Tags of the version.
            token: Identifies this registration; by default run, path and name do.

        Raises:
            ArtifactMissing: The run holds nothing under that path, or a file changed meanwhile.
            VersionNotReady: The run, or the source version of a variant, does not exist, or an
                upload was never finished.
            InputError: Another alias than @candidate, tags that say what cannot be, or a variant
                without its source.
        """
        if alias != ModelAlias.CANDIDATE:
            raise InputError(
                f"A registration sets @candidate, not @{alias}.",
                remedy="Register it, then `guardianflow promote` moves @champion and @rollback.",
                alias=str(alias),
            )
        return register(
            self.client, run_id, artifact_path, _parse(model_name), dict(tags or {}), token
        )

    def plan_promotion(
        self,
        model_name: str | ModelName,
        version: int | None = None,
        *,
        force: bool = False,
        reason: str = "",
        actor: str = "",
        write: bool = True,
    ) -> Plan:
        """Say what a promotion would move; an operation that was interrupted is finished before.

        No moves mean that nothing is to do, which the warnings say. With `write` off nothing is
        written: the plan is made on what will be when the interrupted operation is finished. With
        `actor` it is known that the newest operation may be this request, whose answer was lost.

        Raises:
            Refused: A rule says no: see `promote_to_champion`.
        """
        name = _parse(model_name)
        request = RotationRequest(OperationKind.PROMOTE, name, version, Attribution(actor))
        # A plan is no decision: the reason that force wants is asked for when it is one.
        rule = partial(
            plan_promotion,
            name=name.public,
            version=version,
            force=force,
            reason=reason or "planned",
        )
        try:
            return self.release(name).plan(request, rule, write=write)
        except NoCandidate as nothing:
            if "waiting" not in nothing.data:
                check_registered(self.client, name)
            raise

    def promote_to_champion(
        self,
        model_name: str | ModelName,
        version: int | None = None,
        *,
        expected_champion: Expected = UNSET,
        expected_moves: ChampionMoves | None = None,
        actor: str = "",
        reason: str = "",
        token: str | None = None,
        evidence: str = "",
        force: bool = False,
    ) -> Operation:
        """Make a version champion, with its twins; the former one is kept for the way back.

        Args:
            model_name: Base or variant.
            version: The version; None takes @candidate.
            expected_champion: Refuse unless this is the champion of now (None: no champion).
            expected_moves: Refuse unless exactly these champions move, by public name from which
                version to which; twins that came later are none of them.
            actor: Who decided; by default user and host.
            reason: Why.
            token: The same token again returns the same operation.
            evidence: Where the evidence is kept.
            force: Promote a quarantined version; wants a reason.

        Raises:
            NoCandidate: No version was named and none waits.
            VersionQuarantined: The version was rolled back before, and force is off.
            SourceNotChampion: A variant whose source is neither champion nor candidate.
            ChampionChanged: The champion is not the expected one.
            ReleaseChanged: Other champions would move than the expected ones.
            AliasDrift: Somebody moved an alias by hand.
            RotationConflict: Others kept changing the release.
            ArtifactMissing: A file of the version is gone or differs.
        """
        name = _parse(model_name)
        request = RotationRequest(
            OperationKind.PROMOTE,
            name,
            version,
            Attribution(actor or _whoami(), reason, token or "", evidence),
            expected_champion,
            expected_moves,
        )
        rule = partial(
            plan_promotion, name=name.public, version=version, force=force, reason=reason
        )
        return self.release(name).perform(request, rule)

    def plan_rollback(
        self,
        model_name: str | ModelName,
        *,
        only: bool = False,
        actor: str = "",
        write: bool = True,
    ) -> Plan:
        """Say what a rollback would move; an operation that was interrupted is finished before.

        No moves mean that nothing is to do, which the warnings say: the rollback that was
        interrupted is the one asked for. `actor` and `write` are those of `plan_promotion`;
        `Plan.repeats` names the rollback of the same actor that was done a short time ago.

        Raises:
            Refused: A rule says no: see `rollback`.
        """
        name = _parse(model_name)
        request = RotationRequest(
            OperationKind.ROLLBACK, name, by=Attribution(actor, reason="planned")
        )
        rule = partial(plan_rollback, name=name.public, only=only, reason="planned")
        return self.release(name).plan(request, rule, write=write)

    def rollback(
        self,
        model_name: str | ModelName,
        *,
        expected_champion: Expected = UNSET,
        actor: str = "",
        reason: str = "",
        token: str | None = None,
        evidence: str = "",
        automatic: bool = False,
        only: bool = False,
    ) -> Operation:
        """Go back to the last good release state; what leaves production is quarantined.

        Every name that differs moves with it, or with `only` this one alone, which wants a reason.
        `automatic` means that no person asked: it never takes back what a rollback restored. The
        other arguments are those of `promote_to_champion`.

        Raises:
            NoRollbackTarget: There is no known-good state to go back to.
            RollbackHeld: `automatic`, and the champion was restored by a rollback.
            ChampionChanged: The champion is not the expected one.
            AliasDrift: Somebody moved an alias by hand.
            RotationConflict: Others kept changing the release.
            ArtifactMissing: A file of the version to restore is gone or differs.
            InputError: `automatic` without an expected champion.
        """
        name = _parse(model_name)
        if automatic and not isinstance(expected_champion, int):
            # What it saw may be long ago: it would take down whatever is champion by now.
            raise InputError(
                "An automation has to say which champion failed.",
                remedy="Give expected_champion, the version that was measured.",
                name=name.public,
            )
        request = RotationRequest(
            OperationKind.ROLLBACK,
            name,
            by=Attribution(actor or _whoami(), reason, token or "", evidence, automatic=automatic),
            expected_champion=expected_champion,
        )
        rule = partial(
            plan_rollback,
            name=name.public,
            only=only,
            automatic=automatic,
            reason=request.by.reason,
        )
        return self.release(name).perform(request, rule)

    def repair(
        self,
        model_name: str | ModelName,
        keep: Literal["ledger", "mlflow"],
        *,
        reason: str,
        actor: str = "",
        token: str | None = None,
    ) -> Operation:
        """Mend aliases that somebody moved by hand: back to the ledger, or accept them.

        Either way it is an operation of the history, with who and why.

        Raises:
            InputError: No reason was given.
            AliasDrift: What is to be kept would leave production empty.
            VersionNotReady: What the ledger says was deleted.
        """
        if not reason.strip():
            raise InputError("A repair needs a reason.", remedy='Add --reason "what happened".')
        name = _parse(model_name)
        kind = OperationKind.REPAIR if keep == "ledger" else OperationKind.ADOPT
        by = Attribution(actor or _whoami(), reason, token or "")
        request = RotationRequest(kind, name.base, by=by)
        return self.release(name).perform(request, plan_repair if keep == "ledger" else adopt)

    def rescue(
        self, model_name: str | ModelName, *, reason: str = "", actor: str = ""
    ) -> Operation | None:
        """Give the release its @champion back where MLflow has none, or a quarantined one.

        It needs no person: production is never left empty. None where nothing was to be done.

        Raises:
            NoRollbackTarget: The version was deleted, and no former champion is left.
        """
        request = RotationRequest(
            OperationKind.REPAIR,
            _parse(model_name).base,
            by=Attribution(
                actor or _whoami(),
                reason or "@champion was missing or quarantined in MLflow",
                automatic=True,
            ),
        )
        operation = self.release(model_name).perform(request, rescue)
        return operation if operation.changed else None

    def ledger(self, model_name: str | ModelName) -> Ledger:
        """The log of operations of the release that a name belongs to."""
        return Ledger(self.client, _parse(model_name).base)

    def drift(self, model_name: str | ModelName) -> tuple[Drift, ...]:
        """How MLflow's aliases differ from the last operation; empty when all is well."""
        return self.release(model_name).inspect().drift

    def history(self, model_name: str | ModelName) -> list[Operation]:
        """Every operation of the release that a name belongs to, oldest first.

        Raises:
            ModelUnknown: No model of that name is registered.
        """
        name = _parse(model_name)
        operations = self.release(name).history()
        if not operations:
            check_registered(self.client, name)
        return operations

    def get_champion(self, model_name: str | ModelName) -> RegisteredModelInfo | None:
        """The version in production, or None."""
        return self.get_by_alias(model_name, ModelAlias.CHAMPION)

    def get_by_alias(
        self, model_name: str | ModelName, alias: ModelAlias
    ) -> RegisteredModelInfo | None:
        """The version that an alias names, or None."""
        version = read_aliases(self.client, _parse(model_name)).get(alias)
        return None if version is None else self.get_version(model_name, version)

    def get_version(self, model_name: str | ModelName, version: int) -> RegisteredModelInfo:
        """One version with its aliases.

        Raises:
            VersionNotReady: There is no such version.
        """
        name = _parse(model_name)
        info = read_version(self.client, name, version)
        return info.with_aliases(read_aliases(self.client, name))

    def get_model_uri(self, model_name: str | ModelName, alias: ModelAlias) -> str:
        """The address under which MLflow loads and serves what an alias names."""
        return f"models:/{_parse(model_name).registered}@{ModelAlias(alias)}"

    def list_versions(self, model_name: str | ModelName) -> list[RegisteredModelInfo]:
        """All versions of a name, oldest first.

        Raises:
            ModelUnknown: No model of that name is registered.
        """
        name = _parse(model_name)
        versions = read_versions(self.client, name)
        if not versions:
            check_registered(self.client, name)
        return versions

    def list_models(self) -> list[ModelSummary]:
        """All models by name, with what their aliases name."""
        return read_models(self.client)

    def set_version_tag(
        self, model_name: str | ModelName, version: int, key: str, value: str
    ) -> None:
        """Set a tag on a version.

        Raises:
            VersionNotReady: There is no such version.
        """
        name = _parse(model_name)
        with border(f"tag {name} version {version}"):
            write_repeatably(
                lambda: self.client.set_model_version_tag(name.registered, str(version), key, value)
            )

    def download(self, model_name: str | ModelName, version: int) -> Path:
        """The files of a version in a local folder, verified by size and sha256.

        Raises:
            ArtifactMissing: A file is gone or differs.
            VersionNotReady: There is no such version.
        """
        return download_version(self.client, read_version(self.client, _parse(model_name), version))

    def release(self, model_name: str | ModelName) -> Release:
        """The release that a name belongs to, for those who look behind the operations."""
        return Release(self.client, _parse(model_name).base)


def _parse(name: str | ModelName) -> ModelName:
    return name if isinstance(name, ModelName) else ModelName.parse(name)


def _whoami() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"
