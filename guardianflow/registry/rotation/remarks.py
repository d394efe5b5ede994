"""What a person should know about a release state, in words, beside what moves. Pure."""

from collections.abc import Mapping

from guardianflow.registry.release_state import ProductionEntry, ReleaseState


def remarks(
    base: str, state: ReleaseState, twins: Mapping[str, int | None] | None = None
) -> tuple[str, ...]:
    """No way back, another model on the floor, a variant that stays behind.

    Where a base moves, `twins` has each of its variants, with the version that was made from the
    base's champion; None for one of which no such version is known.
    """
    twins = twins or {}
    found: list[str] = []
    stay = mismatched_variants(base, state)
    for name, entry in sorted(state.items()):
        if entry.rollback is None:
            found.append(f"{without_way_back(name, entry)} until the next promotion.")
        if age := stay.get(name):
            found.append(
                f"{name} stays at version {entry.champion}, made from version "
                f"{entry.source or 'unknown'} of {base}: the floor still runs the {age} model "
                f"until {_follow(name, twins.get(name))}."
            )
    found += [
        f"{name} is not promoted with it and has no champion until {_follow(name, twin)}."
        for name, twin in sorted(twins.items())
        if name not in state
    ]
    return tuple(found)


def mismatched_variants(base: str, state: ReleaseState) -> dict[str, str]:
    """The variants not made from the base's champion; whether what they run is older or newer."""
    if base not in state:
        return {}
    champion = state[base].champion
    return {
        name: "newer" if entry.source and entry.source > champion else "older"
        for name, entry in state.items()
        if name != base and entry.source != champion
    }


def without_way_back(name: str, entry: ProductionEntry) -> str:
    """That a rollback of a name has nowhere to go."""
    return f"{name} has no way back: version {entry.champion} has no earlier good champion"


def _follow(name: str, twin: int | None) -> str:
    """How a variant follows its base."""
    if twin is not None:
        return f"`guardianflow promote {name} --model-version {twin}`, made from that version"
    return "`guardianflow run SCENARIO --type quant --version vN` and a promotion of it"
