"""Which operation made a version champion: a report has to be newer than that."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from guardianflow.errors import LedgerDamaged, PermissionDenied, StoredUnreadable
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.release_state import OperationRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChampionSince:
    """A champion's place in its ledger; None where the account may not read that.

    Attributes:
        newest: Number of the newest operation of the release.
        installed: Number of the operation that made the version champion.
    """

    newest: int | None
    installed: int | None


def what_installed(
    past: Iterable[OperationRecord], name: ModelName, version: int
) -> OperationRecord | None:
    """The newest operation that made a version champion; None if the ledger knows of none."""
    moved = ((record, record.moved().get(name.public)) for record in past)
    return next((record for record, move in moved if move and move[1] == version), None)


def champion_since(registry: ModelRegistryManager, name: ModelName, version: int) -> ChampionSince:
    """Look up since which operation a version is champion."""
    ledger = registry.ledger(name)
    try:
        head = ledger.read()
        installed = what_installed(ledger.past(head), name, version)
    except (LedgerDamaged, StoredUnreadable, PermissionDenied) as error:
        # Measuring goes on; the clocks then decide what came first.
        log.warning("%s", error)
        return ChampionSince(None, None)
    return ChampionSince(head.seq, installed.seq if installed else None)
