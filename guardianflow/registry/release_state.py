"""The words of the rotation: release state, record, decision, drift. Data alone, no I/O.

A release is a base model and the variants quantized from it. Its state says, for every name, which
version is champion; names are public names. The rules over these words are in `rotation/rules.py`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ModelAlias(StrEnum):
    """The three names that a version of a model can have."""

    CANDIDATE = "candidate"
    CHAMPION = "champion"
    ROLLBACK = "rollback"


class OperationKind(StrEnum):
    """What an operation does."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"
    ADOPT = "adopt"
    REPAIR = "repair"
    OTHER = "other"
    """Of a newer guardianflow, which lets older ones read it: its states count. Never written."""


@dataclass(frozen=True)
class Aliases:
    """What the three aliases of one name are to mean; None where there is to be none."""

    champion: int | None = None
    rollback: int | None = None
    candidate: int | None = None

    def get(self, alias: ModelAlias) -> int | None:
        """The version that an alias means."""
        version: int | None = getattr(self, alias)
        return version


@dataclass(frozen=True)
class ProductionEntry:
    """One name in a release state."""

    champion: int
    """The version in production."""
    rollback: int | None
    """The version that a rollback would bring back."""
    newest: int
    """The highest version that was ever champion: a higher one cannot be quarantined."""
    source: int | None = None
    """The version of the base that the champion was quantized from; None for a base."""


ReleaseState = Mapping[str, ProductionEntry]
"""By public name; a name without a champion is absent."""


def champion_of(state: ReleaseState, name: str) -> int | None:
    """The champion of a name, or None."""
    entry = state.get(name)
    return entry.champion if entry else None


@dataclass(frozen=True)
class Attribution:
    """Who moves something and why: one value from the request to the ledger and its answer."""

    actor: str = ""
    reason: str = ""
    token: str = ""
    """The same token again is the same request."""
    evidence: str = ""
    """Where the evidence is kept."""
    automatic: bool = False
    """Whether no person asked."""


@dataclass(frozen=True)
class OperationRecord:
    """One operation as the ledger keeps it."""

    seq: int
    kind: OperationKind
    name: str
    before: ReleaseState
    after: ReleaseState
    by: Attribution
    time: str
    nonce: str = ""

    def moved(self) -> dict[str, tuple[int | None, int]]:
        """The names whose champion changed, with the version before and after."""
        return moved_champions(self.before, self.after)


@dataclass(frozen=True)
class RuleInputs:
    """What the rules look at: the release as it is now."""

    base: str
    state: ReleaseState
    aliases: Mapping[str, Mapping[str, int]]
    """What the aliases name in MLflow now, by public name."""
    sources: Mapping[tuple[str, int], int | None]
    """Which version of the base a version of a variant was made from."""
    gone: frozenset[tuple[str, int]] = frozenset()
    """Versions that were deleted in MLflow, as far as somebody looked."""
    now: datetime | None = None
    """What time it is, UTC; without it a hold does not end by itself."""
    mirrored: bool = True
    """Whether the tag on the base model says what the ledger says."""

    @property
    def candidates(self) -> dict[str, int]:
        """@candidate by public name."""
        return {
            name: present[ModelAlias.CANDIDATE]
            for name, present in self.aliases.items()
            if ModelAlias.CANDIDATE in present
        }

    def pending(self, name: str) -> int | None:
        """The version that waits for promotion; a candidate that is champion counts as none."""
        candidate = self.candidates.get(name)
        return None if candidate == champion_of(self.state, name) else candidate


@dataclass(frozen=True)
class Move:
    """One alias that moves, for people."""

    name: str
    alias: ModelAlias
    before: int | None
    after: int | None


@dataclass(frozen=True)
class Decision:
    """What the rules say: the next state. It equals the one before where nothing is to change."""

    kind: OperationKind
    name: str
    before: ReleaseState
    after: ReleaseState
    warnings: tuple[str, ...] = ()
    moves: tuple[Move, ...] = ()
    mends: str = ""
    """What of MLflow differs from the state and is to be put back, in words."""

    @property
    def changed(self) -> bool:
        """Whether the state changes."""
        return dict(self.before) != dict(self.after)

    def moved(self) -> dict[str, tuple[int | None, int]]:
        """The names whose champion changes, with the version before and after."""
        return moved_champions(self.before, self.after)


@dataclass(frozen=True)
class Drift:
    """An alias in MLflow that is not what the last operation made it."""

    name: str
    alias: ModelAlias
    expected: int | None
    actual: int | None

    def __str__(self) -> str:
        return (
            f"@{self.alias} of {self.name} is version {self.actual or 'none'}, the ledger says "
            f"{self.expected or 'none'}"
        )


def champion_moves(moves: Iterable[Move]) -> dict[str, tuple[int | None, int]]:
    """The moves of @champion, by public name; the version before is None where there was none."""
    return {
        move.name: (move.before, move.after)
        for move in moves
        if move.alias == ModelAlias.CHAMPION and move.after is not None
    }


def moved_champions(before: ReleaseState, after: ReleaseState) -> dict[str, tuple[int | None, int]]:
    """The names whose champion differs, with the version before and after."""
    return {
        name: (champion_of(before, name), entry.champion)
        for name, entry in after.items()
        if champion_of(before, name) != entry.champion
    }


def find_installation(
    past: Iterable[OperationRecord], name: str, version: int
) -> OperationRecord | None:
    """What last made a version champion; None where no record, newest first, did."""
    return next((r for r in past if r.moved().get(name, (None, None))[1] == version), None)


def find_drift(state: ReleaseState, aliases: Mapping[str, Mapping[str, int]]) -> tuple[Drift, ...]:
    """Compare the aliases in MLflow with the state: the one place that says what drift is."""
    found: list[Drift] = []
    for name in sorted(state.keys() | aliases.keys()):
        entry, present = state.get(name), aliases.get(name, {})
        champion, expected = present.get(ModelAlias.CHAMPION), champion_of(state, name)
        if champion != expected:
            found.append(Drift(name, ModelAlias.CHAMPION, expected, champion))
        rollback = present.get(ModelAlias.ROLLBACK)
        way_back = entry.rollback if entry else None
        # Left over where deleting was not allowed; it names the champion and says nothing.
        left_over = rollback is not None and rollback == expected and way_back is None
        if rollback != way_back and not left_over:
            found.append(Drift(name, ModelAlias.ROLLBACK, way_back, rollback))
    return tuple(found)
