"""Who asks for a rotation, of what, under which condition, and the token that makes it once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Literal, TypeAlias

from guardianflow.errors import InputError
from guardianflow.names import ModelName
from guardianflow.registry.release_state import Attribution, OperationKind
from guardianflow.wording.printable import printable

MAX_TEXT = 1000


class Unset(Enum):
    """Says that a caller expects nothing about the champion; None would mean "no champion"."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
Expected: TypeAlias = int | Literal[Unset.UNSET] | None
ChampionMoves: TypeAlias = Mapping[str, tuple[int | None, int | None]]
"""By public name, the champion before and after."""


@dataclass(frozen=True)
class RotationRequest:
    """Who asks for what; the token makes it happen once."""

    kind: OperationKind
    name: ModelName
    version: int | None = None
    by: Attribution = field(default_factory=Attribution)
    expected_champion: Expected = UNSET
    expected_moves: ChampionMoves | None = None
    """Exactly the champions that are to move, as they were shown; None expects nothing."""

    def __post_init__(self) -> None:
        """What people typed is kept for ever, and printed in many places."""
        clean = replace(self.by, actor=printable(self.by.actor), reason=printable(self.by.reason))
        object.__setattr__(self, "by", clean)

    @property
    def is_mending(self) -> bool:
        """Whether a person says what counts: the ledger, or the aliases in MLflow."""
        return self.kind in (OperationKind.ADOPT, OperationKind.REPAIR) and not self.by.automatic

    @property
    def is_rescue(self) -> bool:
        """Whether production is to get its @champion back, and nobody waits for an answer."""
        return self.kind is OperationKind.REPAIR and self.by.automatic

    def check(self) -> None:
        """Refuse texts that would not fit into the ledger.

        Raises:
            InputError: A text is too long.
        """
        for what in ("actor", "reason", "token", "evidence"):
            text: str = getattr(self.by, what)
            if len(text) > MAX_TEXT:
                raise InputError(
                    f"The {what} has {len(text)} characters, more than {MAX_TEXT}.",
                    remedy="Shorten it.",
                )
