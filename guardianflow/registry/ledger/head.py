"""The head of a ledger: its newest operation, and what was read with it. Pure: no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from guardianflow.registry.ledger.entry import Former
from guardianflow.registry.release_state import OperationRecord, ReleaseState


@dataclass(frozen=True)
class LedgerHead:
    """The newest operation and those before it in the same ledger run."""

    records: tuple[OperationRecord, ...]
    """Newest first."""
    done: frozenset[int]
    segment: int
    """The ledger run that holds the records; -1 while there is none."""
    digest: str
    """sha256 of the newest entry, which the next one repeats."""
    previous: str = ""
    """What the oldest of the records says to be the digest of the one before it."""
    former: Former = field(default_factory=Former)
    """What is known of the ledger runs before."""
    also: Mapping[str, int] = field(default_factory=dict[str, int])
    """Operations by the shortened tokens of others who asked for just them."""

    @property
    def record(self) -> OperationRecord | None:
        """The newest operation."""
        return self.records[0] if self.records else None

    @property
    def seq(self) -> int:
        """Its number; 0 while there is none."""
        return self.records[0].seq if self.records else 0

    @property
    def state(self) -> ReleaseState:
        """The release state that it made."""
        return self.records[0].after if self.records else {}

    @property
    def interrupted(self) -> OperationRecord | None:
        """The newest operation, if its aliases may be only half moved."""
        return None if self.seq in self.done else self.record
