"""Who is champion, since which operation: what a report has to be newer than."""

import logging
from dataclasses import dataclass

from guardianflow.errors import LedgerDamaged, NoCandidate, PermissionDenied, StoredUnreadable
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.release_state import find_installation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChampionSince:
    """Where a champion stands in its ledger; None where the account may not read it.

    Attributes:
        newest: Number of the newest operation of the release.
        installed: Number of the operation that made the version champion.
    """

    newest: int | None
    installed: int | None


def champion_to_watch(registry: ModelRegistryManager, model_name: str) -> RegisteredModelInfo:
    """The version in production.

    Raises:
        NoCandidate: There is none.
    """
    champion = registry.get_champion(model_name)
    if champion is None:
        raise NoCandidate(
            f"{model_name} has no @champion whose health could be checked.",
            remedy=f"guardianflow promote {model_name}",
            name=model_name,
        )
    return champion


def champion_since(registry: ModelRegistryManager, name: str, version: int) -> ChampionSince:
    """Since when a version is champion, by the numbers of the ledger."""
    ledger = Ledger(registry.client, ModelName.parse(name).base)
    try:
        head = ledger.read()
        installed = find_installation(ledger.past(head), name, version)
    except (LedgerDamaged, StoredUnreadable, PermissionDenied) as error:
        # Measuring goes on; which came first is then told by the clocks.
        log.warning("%s", error)
        return ChampionSince(None, None)
    return ChampionSince(head.seq, installed.seq if installed else None)
