"""Reads a release: its newest operation, its aliases and the versions that a rule asks about.

What is read together belongs together: where aliases do not fit to the ledger, both are read again
until no operation came between. Nothing is written here.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import tenacity
from mlflow import MlflowClient

from guardianflow.errors import AliasDrift, LedgerDamaged, RotationConflict, VersionNotReady
from guardianflow.mlflow_store.artifacts import SHA_TAG, verify_version
from guardianflow.mlflow_store.registered_models import (
    ModelSummary,
    RegisteredModelInfo,
    read_release_models,
    read_version,
    read_versions,
)
from guardianflow.names import ModelName
from guardianflow.registry.ledger.head import LedgerHead
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.ledger.mirror import HEAD_TAG, MirrorStatus, compare_mirror, read_mirror
from guardianflow.registry.release_state import (
    Decision,
    Drift,
    ModelAlias,
    OperationKind,
    RuleInputs,
    champion_of,
    find_drift,
)
from guardianflow.registry.rotation.request import RotationRequest
from guardianflow.registry.rotation.rules import Rule

ATTEMPTS = 6
"""How often a release is read, or an operation tried, while others keep changing it."""
# Another writer may be about to finish: what looks like drift for less than this is none.
_DRIFT_PATIENCE_S = (0.2, 0.5, 1.0)

VersionKey = tuple[str, int]
"""Public name and number."""


@dataclass(frozen=True)
class ReleaseSnapshot:
    """One release as it is in MLflow: its newest operation, its models, and what differs."""

    head: LedgerHead
    models: Mapping[str, ModelSummary]
    drift: tuple[Drift, ...]
    """Empty while an operation is interrupted: what its aliases are to be is known."""
    mirror: MirrorStatus
    """CURRENT also where there is no base model that could carry one."""

    @property
    def aliases(self) -> dict[str, Mapping[str, int]]:
        """What the aliases name, by public name."""
        return {name: model.aliases for name, model in self.models.items()}


class ReleaseReader:
    """Looks at one release; what it read about a version it keeps, versions do not change."""

    def __init__(self, client: MlflowClient, base: ModelName, ledger: Ledger) -> None:
        self._client = client
        self._base = base
        self._ledger = ledger
        self._versions: dict[VersionKey, RegisteredModelInfo] = {}

    def inspect(self, *, trusting_ledger: bool = False) -> ReleaseSnapshot:
        """The head and the aliases that belong together.

        `trusting_ledger`: a person decided that the ledger is right, whatever its mirror says.

        Raises:
            LedgerDamaged: The ledger was deleted, cut or edited.
            RotationConflict: Others keep changing the release.
        """
        head = self._ledger.read()
        for _ in range(ATTEMPTS):
            seen = self._look(head)
            fits = head.interrupted is None and not seen.drift
            if fits and seen.mirror in (MirrorStatus.CURRENT, MirrorStatus.ABSENT):
                # Who commits from now on takes the number that our own commit would need.
                return seen
            again = self._ledger.read()
            if again.seq == head.seq and again.interrupted == head.interrupted:
                if not trusting_ledger:
                    self._check_tail(seen)
                return replace(seen, head=again)
            head = again
        raise conflict(self._base)

    def _look(self, head: LedgerHead) -> ReleaseSnapshot:
        """The models of now, and how they differ from a head."""
        models = read_release_models(self._client, self._base)
        aliases = {name: model.aliases for name, model in models.items()}
        drift = () if head.interrupted else find_drift(head.state, aliases)
        base = models.get(self._base.public)
        mirror = compare_mirror(read_mirror(base), head) if base else MirrorStatus.CURRENT
        return ReleaseSnapshot(head, models, drift, mirror)

    def check_drift(self, seen: ReleaseSnapshot, request: RotationRequest) -> None:
        """Refuse to build on aliases that somebody moved by hand.

        A rollback goes on where aliases are only missing: an emergency does not wait for a repair.

        Raises:
            AliasDrift: An alias is not where the last operation put it.
        """
        missing = all(found.actual is None for found in seen.drift)
        if request.kind is OperationKind.ROLLBACK and missing:
            return
        if seen.drift:
            self._require_no_drift()

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(AliasDrift),
        wait=tenacity.wait_chain(*map(tenacity.wait_fixed, _DRIFT_PATIENCE_S)),
        stop=tenacity.stop_after_attempt(1 + len(_DRIFT_PATIENCE_S)),
        reraise=True,
    )
    def _require_no_drift(self) -> None:
        seen = self.inspect()
        if seen.drift:
            raise AliasDrift(
                f"{'; '.join(str(found) for found in seen.drift)}. Somebody moved it without "
                "guardianflow; nothing was changed.",
                remedy=f"`guardianflow repair {self._base} --keep ledger` puts it back, "
                f"`--keep mlflow` accepts it; `guardianflow doctor {self._base}` says more.",
                drift=[asdict(found) for found in seen.drift],
            )

    def decide(
        self,
        seen: ReleaseSnapshot,
        request: RotationRequest,
        rule: Rule,
        lost: Collection[VersionKey] = (),
    ) -> Decision:
        """What the rule says; a way back never leads to a version that was deleted in MLflow.

        The versions that aliases lack are looked for, and those that a rollback moves: then it is
        decided again with what they say, that one is gone or from which version of the base it was
        made. `lost` ones count as deleted.
        """
        wanted = {(found.name, found.expected) for found in seen.drift if found.expected}
        gone = {*lost, *self._find_gone(wanted)}
        while True:
            inputs = self._rule_inputs(seen, request, frozenset(gone))
            decision = rule(inputs, lambda: self._ledger.past(seen.head))
            if decision.kind is not OperationKind.ROLLBACK:
                return decision
            known = len(gone) + len(self._versions)
            moved = {(name, version) for name, (_, version) in decision.moved().items()}
            gone |= self._find_gone(moved)
            if len(gone) + len(self._versions) == known:
                return decision

    def _rule_inputs(
        self, seen: ReleaseSnapshot, request: RotationRequest, gone: frozenset[VersionKey]
    ) -> RuleInputs:
        """What the rules look at; only versions that could move are asked for."""
        wanted = {
            (name, present[alias])
            for name, present in seen.aliases.items()
            for alias in (ModelAlias.CANDIDATE, ModelAlias.CHAMPION)
            if alias in present
            and (alias is ModelAlias.CANDIDATE or request.kind is OperationKind.ADOPT)
        }
        if request.version is not None:
            wanted.add((request.name.public, request.version))
        planned = request.kind is OperationKind.PROMOTE and request.expected_moves is None
        if planned and request.name == self._base and request.version is not None:
            # Asked for by its number: its twins need not be what waits.
            self._read_variants(seen)
        state = seen.head.state
        sources = {key: info.source_version for key, info in self._versions.items()} | {
            (name, version): self._version(name, version).source_version
            for name, version in wanted
            if request.kind in (OperationKind.PROMOTE, OperationKind.ADOPT)
            and ModelName.parse(name).is_variant
            and (request.kind is OperationKind.ADOPT or champion_of(state, name) != version)
        }
        return RuleInputs(
            self._base.public,
            state,
            seen.aliases,
            sources,
            gone=gone,
            now=datetime.now(UTC),
            mirrored=seen.mirror is MirrorStatus.CURRENT,
        )

    def _read_variants(self, seen: ReleaseSnapshot) -> None:
        """Read all versions of the variants, for what was made from an older base."""
        for variant in (ModelName.parse(name) for name in seen.models):
            if variant.is_variant:
                for info in read_versions(self._client, variant):
                    self._versions.setdefault((variant.public, info.version), info)

    def _find_gone(self, versions: Collection[VersionKey]) -> set[VersionKey]:
        """Those of some versions that do not exist any more.

        One without fingerprints is none of ours: MLflow counts from 1 again where a whole model was
        deleted, so that the number of a champion may come back with another model behind it.
        """
        gone: set[VersionKey] = set()
        for name, version in versions:
            try:
                tags = self._version(name, version).tags
            except VersionNotReady:
                tags = ()
            if not any(tag.startswith(SHA_TAG) for tag in tags):
                gone.add((name, version))
        return gone

    def _version(self, name: str, version: int) -> RegisteredModelInfo:
        """A version as it was read first: it is asked for by the rules and by the checks."""
        if (name, version) not in self._versions:
            info = read_version(self._client, ModelName.parse(name), version)
            self._versions[name, version] = info
        return self._versions[name, version]

    def verify(self, name: str, version: int) -> None:
        """Check that a version which is to become champion is there, whole and READY.

        Raises:
            VersionNotReady: The version is gone or was never finished.
            ArtifactMissing: A file of it is gone or differs.
        """
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

    def _check_tail(self, seen: ReleaseSnapshot) -> None:
        """Refuse a ledger whose mirror says that its tail was cut or its newest entry changed."""
        base = seen.models.get(self._base.public)
        seq, mirror = seen.head.seq, read_mirror(base) if base else None
        if seen.mirror is MirrorStatus.AHEAD and mirror:
            what = f"ends at operation {seq}, but operation {mirror.seq} was decided"
        elif seen.mirror is MirrorStatus.OTHER:
            what = f"holds another operation {seq} than the one that was decided"
        else:
            return
        raise LedgerDamaged(
            f"The ledger of {self._base} {what}: the tag {HEAD_TAG} of the model says so.",
            remedy="Restore the deleted ledger run (`python -m deployments.tool mlflow runs "
            "restore`, from the checkout) or the back-up of MLflow's database. If the ledger is "
            "right and the tag was edited: "
            f'`guardianflow repair {self._base} --keep ledger --reason "..."`.',
            name=self._base.public,
        )


def conflict(base: ModelName) -> RotationConflict:
    """The refusal where others keep changing the release."""
    return RotationConflict(
        f"Others kept changing the release {base}; nothing was changed by this request.",
        remedy="Look at `guardianflow history` and try again.",
        name=base.public,
    )
