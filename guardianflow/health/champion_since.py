"""Which operation made a version champion: a report has to be newer than that."""

import logging
from dataclasses import dataclass

from guardianflow.errors import LedgerDamaged, PermissionDenied, StoredUnreadable
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.release_state import find_installation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChampionSince:
    """A champion's place in its ledger, in numbers; None where the account may not read that."""

    newest: int | None
    """The newest operation of the release."""
    installed: int | None
    """The operation that made the version champion."""


def champion_since(registry: ModelRegistryManager, name: ModelName, version: int) -> ChampionSince:
    """Look up since which operation a version is champion."""
    ledger = registry.ledger(name)
    try:
        head = ledger.read()
        installed = find_installation(ledger.past(head), name.public, version)
    except (LedgerDamaged, StoredUnreadable, PermissionDenied) as error:
        # Measuring goes on; the clocks then decide what came first.
        log.warning("%s", error)
        return ChampionSince(None, None)
    return ChampionSince(head.seq, installed.seq if installed else None)
