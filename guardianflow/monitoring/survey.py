"""Lists the releases: one listing of all models, and the releases in the ledger.

The listing takes the same few calls for one release and for a thousand; what needs calls for each
release is done elsewhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlflow import MlflowClient

from guardianflow.errors import LedgerDamaged
from guardianflow.mlflow_store.registered_models import ModelSummary, list_models
from guardianflow.names import ModelName
from guardianflow.registry.ledger.index import known_bases
from guardianflow.registry.ledger.mirror import Mirror, read_mirror
from guardianflow.registry.release_state import ModelAlias


@dataclass(frozen=True)
class ReleaseOverview:
    """One release as the listing shows it."""

    base: ModelName
    models: Mapping[str, ModelSummary]
    """By public name; without the base where that was deleted."""
    in_ledger: bool
    """Whether the ledger has operations of this release."""

    @property
    def mirror(self) -> Mirror | None:
        """The state after the newest operation, as the tag on the base model says."""
        model = self.models.get(self.base.public)
        return None if model is None else read_mirror(model)

    @property
    def looks_wrong(self) -> bool:
        """Whether the listing shows a problem; only the ledger tells more."""
        if self.mirror is not None:
            return not self.in_ledger or not self.mirror.agrees(self.models)
        return self.in_ledger or self.in_production

    @property
    def in_production(self) -> bool:
        """Whether @champion or @rollback is set."""
        return any(
            alias in model.aliases
            for model in self.models.values()
            for alias in (ModelAlias.CHAMPION, ModelAlias.ROLLBACK)
        )


def survey(client: MlflowClient) -> list[ReleaseOverview]:
    """List every release on the server by name, also those whose models were deleted.

    Where the ledger cannot be read, every release looks wrong, so that it is read and reported.
    """
    models: dict[ModelName, dict[str, ModelSummary]] = {}
    for summary in list_models(client):
        models.setdefault(ModelName.parse(summary.name).base, {})[summary.name] = summary
    try:
        known = set(known_bases(client))
    except LedgerDamaged:
        known = set[ModelName]()
    return [
        ReleaseOverview(base, models.get(base, {}), base in known)
        for base in sorted(models.keys() | known)
    ]


def champions_of(releases: Iterable[ReleaseOverview]) -> dict[str, int]:
    """The version of @champion in MLflow by public name; names without one are left out."""
    return {
        model.name: model.aliases[ModelAlias.CHAMPION]
        for release in releases
        for model in release.models.values()
        if ModelAlias.CHAMPION in model.aliases
    }
