"""What people should know about a release although nothing is broken, and what to do about it.

An older model on the floor, no way back, a hold, a quarantined candidate. Pure, like `findings.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from guardianflow.monitoring.findings import Finding, FindingCode, Severity, decided_at
from guardianflow.names import ModelName
from guardianflow.registry.release_state import OperationRecord, ReleaseState
from guardianflow.registry.rotation.remarks import mismatched_variants, without_way_back
from guardianflow.registry.rotation.rules import all_quarantined, find_hold

_ANSWER = "`guardianflow pending`, then `guardianflow approve` or `guardianflow reject`"


def release_caveats(
    base: ModelName,
    state: ReleaseState,
    past: Sequence[OperationRecord],
    now: datetime,
    *,
    candidates: Mapping[str, int] | None = None,
    asked: Mapping[str, int] | None = None,
    twins: Mapping[str, int] | None = None,
) -> list[Finding]:
    """List what people should know about a release.

    Args:
        base: The base model.
        state: What the ledger says.
        past: Its operations, the newest first.
        now: The time.
        candidates: The version of @candidate, by public name; None where it was not read.
        asked: The versions that wait for an approval, by public name.
        twins: The newest version of each variant made from the base's champion, where known.
    """
    found: list[Finding] = []
    asked = asked or {}
    stay = mismatched_variants(base.public, state)
    for name, entry in sorted(state.items()):
        if age := stay.get(name):
            remedy = _twin_follows(name, (twins or {}).get(name), asked.get(name))
            found.append(_older_on_floor(name, base, state, age, remedy))
        if entry.rollback is None:
            remedy = _next_promotion(name, entry.champion, past, candidates, asked)
            said = f"{without_way_back(name, entry)}."
            found.append(Finding(name, FindingCode.NO_WAY_BACK, Severity.WARNING, said, remedy))
    if hold := find_hold(past, now):
        found.append(_on_hold(hold))
    return found


def _older_on_floor(
    name: str, base: ModelName, state: ReleaseState, age: str, remedy: str
) -> Finding:
    """A variant that was made from another version than the champion of the base."""
    entry, champion = state[name], state[base.public].champion
    article = "a" if age == "newer" else "an"
    return Finding(
        name,
        FindingCode.FLOOR_RUNS_OLDER,
        Severity.WARNING,
        f"The floor runs {article} {age} model: {name} version {entry.champion} was made from "
        f"version {entry.source or 'unknown'} of {base}, whose champion is version {champion}.",
        remedy,
    )


def _twin_follows(name: str, twin: int | None, asked: int | None) -> str:
    """How to get a variant of the base's champion onto the floor."""
    if asked:
        return f"People are asked about version {asked} of it; answer that first: {_ANSWER}"
    promote = f"guardianflow promote {name}"
    return f"`{promote} --model-version {twin}`" if twin else f"{_make(name)}, then `{promote}`"


def _on_hold(hold: OperationRecord) -> Finding:
    """A release that a rollback has put on hold."""
    return Finding(
        hold.name,
        FindingCode.ON_HOLD,
        Severity.WARNING,
        f"The release has been on hold since {decided_at(hold)}: {hold.by.actor} rolled it back as "
        f"operation {hold.seq} ({hold.by.reason or 'no reason given'}).",
        "The hold ends a day after the rollback. To promote before that: `guardianflow promote "
        f'{hold.name} --force --reason "..."`',
    )


def _next_promotion(
    name: str,
    champion: int,
    past: Sequence[OperationRecord],
    candidates: Mapping[str, int] | None,
    asked: Mapping[str, int],
) -> str:
    """How a name gets a way back: by the next promotion, with its next step."""
    makes_one, promote = "The next promotion makes one", f"`guardianflow promote {name}`"
    if name in asked:
        return f"{makes_one}; people are asked about version {asked[name]}: {_ANSWER}"
    if candidates is None:
        return f"{makes_one}: {promote}"
    candidate = candidates.get(name)
    if candidate is None or candidate == champion:
        return f"{makes_one}, but there is no candidate yet: {_make(name)}, then {promote}"
    if (name, candidate) in all_quarantined(past):
        return (
            f"{makes_one}, but @candidate, version {candidate}, was rolled back: {_make(name)}, "
            f"then {promote}"
        )
    return f"{makes_one}: {promote}"


def quarantined_candidate(name: str, version: int, asked: int | None = None) -> Finding:
    """A @candidate that was rolled back before; `asked` is the version that waits for approval."""
    better = f"Register a better one with {_make(name)}"
    force = f'`guardianflow promote {name} --force --reason "..."`'
    return Finding(
        name,
        FindingCode.CANDIDATE_QUARANTINED,
        Severity.NOTE,
        f"@candidate of {name}, version {version}, is quarantined: it was rolled back.",
        f"People are asked about it: {_ANSWER}"
        if asked == version
        else f"{better}, or promote it against the quarantine: {force}",
    )


def _make(name: str) -> str:
    """The command that registers the next version of a name."""
    kind = "quant" if ModelName.parse(name).is_variant else "train"
    return f"`guardianflow run SCENARIO --type {kind} --version vN`"
