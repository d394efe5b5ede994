"""The mirror: what the last operation makes of a release, as a tag on its base model.

    guardianflow.head = {"seq": 7, "digest": "...", "state": {"": [3, 2], "openvino_int8": [3, 2]}}

The ledger is the truth and needs a call for each release; the mirror comes along with the listing
of all models. It is written once an operation is decided, before its aliases move, so a ledger that
ends before its mirror was cut, and a newest entry with another digest was changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Annotated

from pydantic import BeforeValidator, Field, StrictInt

from guardianflow.errors import StoredUnreadable
from guardianflow.mlflow_store.registered_models import ModelSummary
from guardianflow.names import ModelName
from guardianflow.registry.ledger.head import LedgerHead
from guardianflow.registry.release_state import ProductionEntry, ReleaseState, find_drift
from guardianflow.stored import Stored, first_of, read_stored

HEAD_TAG = "guardianflow.head"


_Place = Annotated[tuple[StrictInt, StrictInt | None], BeforeValidator(first_of(2))]


class MirrorTag(Stored):
    """The mirror as the tag keeps it; names are short, "" is the base."""

    # The tag is compared with what it is to be: these fields in this order, for ever.
    seq: int = Field(description="Number of the operation.")
    digest: str = Field(description="Of its entry in the ledger.")
    state: dict[str, _Place] = Field(
        description="@champion and @rollback; numbers behind them are of a newer version."
    )


@dataclass(frozen=True)
class Mirror:
    """The last operation of a release, as its base model says."""

    seq: int
    digest: str
    """sha256 of the operation's entry in the ledger, shortened."""
    state: Mapping[str, tuple[int, int | None]]
    """By public name, the versions that @champion and @rollback are to name."""

    @classmethod
    def of(cls, head: LedgerHead) -> "Mirror":
        """What the mirror of a ledger is to say."""
        return cls(head.seq, head.digest, {n: _place(p) for n, p in head.state.items()})

    def agrees(self, models: Mapping[str, ModelSummary]) -> bool:
        """Whether the aliases of a release are as the mirror says; @candidate is not part of it."""
        state = {n: ProductionEntry(*place, newest=place[0]) for n, place in self.state.items()}
        return not find_drift(state, {name: model.aliases for name, model in models.items()})


class MirrorStatus(Enum):
    """How a mirror compares with the newest operation of the ledger."""

    CURRENT = auto()
    """It says what the ledger says; also where neither says anything."""
    ABSENT = auto()
    """There is none, or none that can be read."""
    BEHIND = auto()
    """It is of an earlier operation."""
    AHEAD = auto()
    """It is of an operation that the ledger does not have: the ledger was cut."""
    OTHER = auto()
    """It is of another operation with the same number: one of the two was changed."""
    EDITED = auto()
    """It is of the newest operation, with other aliases."""


def compare_mirror(mirror: Mirror | None, head: LedgerHead) -> MirrorStatus:
    """Compare a mirror with the head of its ledger: the one place that says what fits."""
    if mirror is None:
        return MirrorStatus.ABSENT if head.seq else MirrorStatus.CURRENT
    if mirror.seq != head.seq:
        return MirrorStatus.BEHIND if mirror.seq < head.seq else MirrorStatus.AHEAD
    if mirror.digest != head.digest:
        return MirrorStatus.OTHER
    return MirrorStatus.CURRENT if mirror == Mirror.of(head) else MirrorStatus.EDITED


def encode_mirror(base: ModelName, seq: int, digest: str, state: ReleaseState) -> str:
    """The tag's value for an operation and the state that it made."""
    places = {base.short(name): _place(entry) for name, entry in state.items()}
    return MirrorTag(seq=seq, digest=digest, state=places).to_line()


def read_mirror(model: ModelSummary) -> Mirror | None:
    """The mirror on a base model.

    None where there is none, where somebody edited it, or where it is for a newer version of
    guardianflow: the ledger says what counts, and whether this version may go on from it.
    """
    if (text := model.tags.get(HEAD_TAG)) is None:
        return None
    base = ModelName.parse(model.name)
    try:
        read = read_stored(MirrorTag, text, f"tag {HEAD_TAG} of {base}")
    except StoredUnreadable:
        return None
    state = {base.long(short): place for short, place in read.state.items()}
    return Mirror(read.seq, read.digest, state)


def _place(entry: ProductionEntry) -> tuple[int, int | None]:
    return entry.champion, entry.rollback
