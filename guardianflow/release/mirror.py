"""The mirror: what the last finished operation made of a release, as a tag on its base model.

    guardianflow.head = {"seq": 7, "digest": "...", "state": {"": [3, 2], "openvino_int8": [3, 2]}}

The ledger is the truth and needs a call for each release; the mirror comes along with the listing
of all models. It is written before an operation counts as done, so a ledger that ends before its
mirror was cut, and a newest entry with another digest was changed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from guardianflow.catalog.models import ModelSummary
from guardianflow.names import ModelName
from guardianflow.release.rotation import find_drift
from guardianflow.release.state import Place, ReleaseState

HEAD_TAG = "guardianflow.head"


@dataclass(frozen=True)
class Mirror:
    """The last finished operation of a release, as its base model says."""

    seq: int
    digest: str
    """sha256 of the operation's entry in the ledger, shortened."""
    champions: Mapping[str, int]
    """By public name, the version that @champion is to name."""
    rollbacks: Mapping[str, int]
    """By public name, the version that @rollback is to name; absent where there is none."""

    def agrees(self, models: Mapping[str, ModelSummary]) -> bool:
        """Whether the aliases of a release are as the mirror says; @candidate is not part of it."""
        state = {
            name: Place(champion, self.rollbacks.get(name), champion)
            for name, champion in self.champions.items()
        }
        return not find_drift(state, {name: model.aliases for name, model in models.items()})


def encode_mirror(base: ModelName, seq: int, digest: str, state: ReleaseState) -> str:
    """The tag's value for an operation and the state that it made."""
    places = {base.short(name): [place.champion, place.rollback] for name, place in state.items()}
    return json.dumps({"seq": seq, "digest": digest, "state": places}, separators=(",", ":"))


def read_mirror(model: ModelSummary) -> Mirror | None:
    """The mirror on a base model; None where there is none, or where somebody edited it."""
    base = ModelName.parse(model.name)
    try:
        content = cast("dict[str, object]", json.loads(model.tags.get(HEAD_TAG, "")))
        state = cast("dict[str, list[int | None]]", content["state"])
        champions: dict[str, int] = {}
        rollbacks: dict[str, int] = {}
        for short, (champion, rollback, *_) in state.items():
            name = base.long(short)
            champions[name] = int(cast("int", champion))
            if rollback is not None:
                rollbacks[name] = int(rollback)
        return Mirror(
            int(cast("int", content["seq"])), str(content["digest"]), champions, rollbacks
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
