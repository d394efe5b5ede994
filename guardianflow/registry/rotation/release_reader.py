"""Reads a release: its newest operation, its aliases and the versions that a rule asks about.

What is read together belongs together: where aliases do not fit to the ledger, both are read again
until no operation came between. Nothing is written here.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient

from guardianflow.errors import (
    AliasDrift,
    ArtifactMissing,
    LedgerDamaged,
    RotationConflict,
    VersionNotReady,
)
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
from guardianflow.registry.ledger.mirror import HEAD_TAG, read_mirror
from guardianflow.registry.release_state import (
    Decision,
    Drift,
    ModelAlias,
    OperationKind,
    RuleInputs,
    find_drift,
)
from guardianflow.registry.rotation.outcome import champion_of
from guardianflow.registry.rotation.request import RotationRequest
from guardianflow.registry.rotation.rules import Past, unguarded

ATTEMPTS = 6
"""How often a release is read, or an operation tried, while others keep changing it."""
# Another writer may be about to finish: what looks like drift for less than this is none.
_DRIFT_PATIENCE_S = (0.2, 0.5, 1.0)

Rule = Callable[[RuleInputs, Past], Decision]


@dataclass(frozen=True)
class ReleaseSnapshot:
    """One release as it is in MLflow: its newest operation, its models, and what differs."""

    head: LedgerHead
    models: Mapping[str, ModelSummary]
    drift: tuple[Drift, ...]
    """Empty while an operation is interrupted: what its aliases are to be is known."""

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
        self._versions: dict[tuple[str, int], RegisteredModelInfo] = {}
        self._gone: set[tuple[str, int]] = set()

    def inspect(self, *, trusting_ledger: bool = False) -> ReleaseSnapshot:
        """The head and the aliases that belong together.

        Args:
            trusting_ledger: A person decided that the ledger is right, whatever its mirror says.

        Raises:
            LedgerDamaged: The ledger was deleted, cut or edited.
            RotationConflict: Others keep changing the release.
        """
        head = self._ledger.read()
        for _ in range(ATTEMPTS):
            models = read_release_models(self._client, self._base)
            if self._fits(head, models):
                # Who commits from now on takes the number that our own commit would need.
                return ReleaseSnapshot(head, models, ())
            again = self._ledger.read()
            if again.seq == head.seq and again.interrupted == head.interrupted:
                if not trusting_ledger:
                    self._check_tail(again, models)
                drift = () if again.interrupted else find_drift(again.state, _aliases(models))
                return ReleaseSnapshot(again, models, drift)
            head = again
        raise conflict(self._base)

    def _fits(self, head: LedgerHead, models: Mapping[str, ModelSummary]) -> bool:
        """Whether nothing suggests that an operation came between reading one and the other."""
        base = models.get(self._base.public)
        mirror = read_mirror(base) if base else None
        return (
            head.interrupted is None
            and not find_drift(head.state, _aliases(models))
            and (mirror is None or (mirror.seq, mirror.digest) == (head.seq, head.digest))
        )

    def check_drift(self, seen: ReleaseSnapshot, request: RotationRequest) -> None:
        """Refuse to build on aliases that somebody moved by hand.

        A rollback goes on where aliases are only missing: an emergency does not wait for a repair.

        Raises:
            AliasDrift: An alias is not where the last operation put it.
        """
        if request.kind is OperationKind.ROLLBACK and all(
            found.actual is None for found in seen.drift
        ):
            for found in seen.drift:
                self.look_for(found.name, found.expected)
            return
        for pause in _DRIFT_PATIENCE_S:
            if not seen.drift:
                return
            time.sleep(pause)
            seen = self.inspect()
        if seen.drift:
            raise AliasDrift(
                f"{'; '.join(str(found) for found in seen.drift)}. Somebody moved it without "
                "guardianflow; nothing was changed.",
                remedy=f"`guardianflow repair {self._base} --keep ledger` puts it back, "
                f"`--keep mlflow` accepts it; `guardianflow doctor {self._base}` says more.",
                drift=[asdict(found) for found in seen.drift],
            )

    def decide(self, seen: ReleaseSnapshot, request: RotationRequest, rule: Rule) -> Decision:
        """What the rule says; a way back never leads to a version that was deleted in MLflow.

        The versions that a rollback moves are looked for, and it is decided again with what they
        say: that one is gone, or from which version of the base it was made.
        """
        while True:
            decision = rule(self.situation(seen, request), lambda: self._ledger.past(seen.head))
            if decision.kind is not OperationKind.ROLLBACK:
                return decision
            known = len(self._gone) + len(self._versions)
            for name, (_, version) in decision.moved().items():
                self.look_for(name, version)
            if len(self._gone) + len(self._versions) == known:
                return decision

    def situation(self, seen: ReleaseSnapshot, request: RotationRequest) -> RuleInputs:
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
            (name, version): self.version(name, version).source_version
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
            gone=frozenset(self._gone),
            now=datetime.now(UTC),
        )

    def _read_variants(self, seen: ReleaseSnapshot) -> None:
        """Read all versions of the variants, for what was made from an older base."""
        for variant in (ModelName.parse(name) for name in seen.models):
            if variant.is_variant:
                for info in read_versions(self._client, variant):
                    self._versions.setdefault((variant.public, info.version), info)

    def look_for(self, name: str, version: int | None) -> None:
        """Remember a version that does not exist any more.

        One without fingerprints is none of ours: MLflow counts from 1 again where a whole model was
        deleted, so that the number of a champion may come back with another model behind it.
        """
        if version is None:
            return
        try:
            info = self.version(name, version)
        except VersionNotReady:
            self._gone.add((name, version))
            return
        if not any(tag.startswith(SHA_TAG) for tag in info.tags):
            self._gone.add((name, version))

    def version(self, name: str, version: int) -> RegisteredModelInfo:
        """A version as it was read first: it is asked for by the rules and by the checks.

        Raises:
            VersionNotReady: There is no such version.
        """
        if (name, version) not in self._versions:
            info = read_version(self._client, ModelName.parse(name), version)
            self._versions[name, version] = info
        return self._versions[name, version]

    def unguarded(self, seen: ReleaseSnapshot, request: RotationRequest) -> tuple[str, ...]:
        """The names that have no @champion in MLflow, or one that was rolled back before."""
        return unguarded(self.situation(seen, request), lambda: self._ledger.past(seen.head))

    def look_for_retired(self, seen: ReleaseSnapshot) -> None:
        """Remember the names whose whole registered model is gone."""
        for name in seen.head.state.keys() - seen.models.keys():
            self.look_for(name, seen.head.state[name].champion)

    def skip_unusable(self, decision: Decision) -> bool:
        """Whether a version that is to come back lacks a file; it counts as gone from now on."""
        for name, (_, version) in decision.moved().items():
            try:
                verify_version(self._client, self.version(name, version))
            except ArtifactMissing:
                self._gone.add((name, version))
                return True
        return False

    def verify(self, decision: Decision) -> None:
        """Check that every version that becomes champion is there, whole and READY.

        Raises:
            VersionNotReady: A version is gone or was never finished.
            ArtifactMissing: A file of a version is gone or differs.
        """
        for name, (_, version) in decision.moved().items():
            info = self.version(name, version)
            if not info.ready:
                raise VersionNotReady(
                    f"{name} version {version} is not READY in MLflow.",
                    remedy="Register it again with `guardianflow run SCENARIO --type train "
                    "--version vN` (or --type quant).",
                    name=name,
                    version=version,
                )
            verify_version(self._client, info)

    def _check_tail(self, head: LedgerHead, models: Mapping[str, ModelSummary]) -> None:
        """Compare the ledger with its mirror: a cut tail or a changed newest entry shows here."""
        base = models.get(self._base.public)
        mirror = read_mirror(base) if base else None
        if mirror is None or mirror.seq < head.seq:
            return
        if mirror.seq > head.seq:
            what = f"ends at operation {head.seq}, but operation {mirror.seq} was decided"
        elif mirror.digest != head.digest:
            what = f"holds another operation {head.seq} than the one that was decided"
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


def _aliases(models: Mapping[str, ModelSummary]) -> dict[str, Mapping[str, int]]:
    return {name: model.aliases for name, model in models.items()}
