"""The rules of the rotation: release state + request -> next state, or a refusal. Pure: no I/O.

Each operation is an `OperationRecord` with the state before and after; these, newest first, are
the past from which a way back is chosen:

    promote   former champion -> @rollback, the version -> @champion; twins of a base come along
    rollback  every name goes where it was in the last good state; what leaves is quarantined
    adopt     the state becomes what a person did by hand in MLflow, @rollback included
    repair    the state stays; the aliases are put back where it says
    rescue    an @champion is missing: a repair, or a rollback where its version was deleted

Good is a past state in which no version is quarantined or deleted: it was in production, so it is
known. After a rollback by an automation the release is on hold: a day, or until a person acts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain

from guardianflow.errors import ChampionChanged, InputError
from guardianflow.registry.release_state import (
    Aliases,
    Attribution,
    Decision,
    ModelAlias,
    Move,
    OperationKind,
    OperationRecord,
    ProductionEntry,
    ReleaseState,
    RuleInputs,
    champion_of,
    find_drift,
)
from guardianflow.registry.rotation.refusals import (
    champion_gone,
    champion_unknown,
    had_none,
    no_candidate,
    no_operation,
    no_version,
    no_way_back,
    nothing_left,
    nothing_to_roll_back,
    on_hold,
    quarantined,
    rollback_held,
    source_not_champion,
)
from guardianflow.registry.rotation.remarks import remarks

HOLD = timedelta(days=1)
"""How long nothing is promoted by the way after an automation rolled back."""

Past = Callable[[], Iterable[OperationRecord]]
"""Gives the records of a release, newest first; called only where they are needed."""
Rule = Callable[[RuleInputs, Past], Decision]


def plan_promotion(
    inputs: RuleInputs,
    past: Past,
    name: str,
    version: int | None = None,
    *,
    force: bool = False,
    reason: str = "",
) -> Decision:
    """Decide what the promotion of a version moves, or of @candidate where none is named.

    With `force` neither quarantine nor a hold counts.

    Raises:
        NoCandidate: No version was named and none waits.
        VersionQuarantined: The version was rolled back before, and force is off.
        ReleaseOnHold: An automation rolled the release back, and force is off.
        SourceNotChampion: A variant whose source is neither champion nor candidate.
        InputError: Force without a reason.
    """
    if force and not reason.strip():
        raise InputError(
            "A forced promotion needs a reason.", remedy='Add --reason "why it is right now".'
        )
    version = version or inputs.pending(name)
    if version is None:
        raise no_candidate(inputs, name)
    if champion_of(inputs.state, name) == version:
        return Decision(OperationKind.PROMOTE, name, inputs.state, inputs.state)
    wanted = _moving_together(inputs, name, version)
    for moving, number in list(wanted.items()):
        if force or not is_quarantined(inputs.state, past, moving, number):
            continue
        if moving in (name, inputs.base):
            raise quarantined(moving, number)
        del wanted[moving]
    if not force and (hold := find_hold(past(), inputs.now)):
        raise on_hold(name, hold)
    after = dict(inputs.state)
    for moving, number in wanted.items():
        former = inputs.state.get(moving)
        after[moving] = ProductionEntry(
            champion=number,
            rollback=champion_of(inputs.state, moving),
            newest=max(number, former.newest if former else 0),
            source=inputs.sources.get((moving, number)),
        )
    return _decision(inputs, OperationKind.PROMOTE, name, after)


def _moving_together(inputs: RuleInputs, name: str, version: int) -> dict[str, int]:
    """The versions that become champion together: the one asked for, and its twins."""
    base = inputs.base
    if name == base:
        return {base: version, **_twins(inputs, version)}
    source = inputs.sources.get((name, version))
    if source is not None and source == champion_of(inputs.state, base):
        return {name: version}
    if source is not None and inputs.pending(base) == source:
        return {base: source, **_twins(inputs, source), name: version}
    raise source_not_champion(inputs, name, version, source)


def _twins(inputs: RuleInputs, source: int) -> dict[str, int]:
    """The variants whose waiting candidate was made from exactly this version of the base."""
    twins: dict[str, int] = {}
    for name in sorted(inputs.candidates):
        version = inputs.pending(name)
        made_here = version is not None and inputs.sources.get((name, version)) == source
        if name != inputs.base and made_here and version is not None:
            twins[name] = version
    return twins


def plan_rollback(
    inputs: RuleInputs,
    past: Past,
    name: str,
    *,
    only: bool = False,
    automatic: bool = False,
    reason: str = "",
) -> Decision:
    """Decide what a rollback moves: back to the last good state in which `name` was another.

    `only` moves this name alone, whatever the others were then. What a rollback restored is left
    to a person where the request is `automatic`.

    Raises:
        NoRollbackTarget: There is no such state, or a name had no champion in it.
        RollbackHeld: An automation asked, and a rollback restored what would move, or the release
            is on hold.
        InputError: `only` without a reason.
    """
    if only and not reason.strip():
        raise InputError(
            "A rollback of one name alone needs a reason.", remedy='Add --reason "why".', name=name
        )
    entry = inputs.state.get(name)
    if entry is None:
        raise nothing_to_roll_back(name)
    if automatic and (_restored(past(), name) or find_hold(past(), inputs.now)):
        raise rollback_held(name, entry.champion)
    target = _target(past(), inputs, name, only=only)
    if target is None:
        raise no_way_back(name, entry.champion)
    names = [name] if only else sorted(inputs.state)
    missing = [other for other in names if other not in target]
    if missing:
        raise had_none(name, target[name].champion, missing)
    decision = _rolled_back(inputs, past, name, {other: target[other] for other in names})
    for other, (former, _) in decision.moved().items() if automatic else ():
        if former is not None and _restored(past(), other):
            raise rollback_held(other, former)
    return decision


def _rolled_back(
    inputs: RuleInputs,
    past: Past,
    name: str,
    target: Mapping[str, ProductionEntry],
) -> Decision:
    """The state after a rollback, with what the next rollback of every name would bring back."""
    before = inputs.state
    after = dict(before)
    for other, there in target.items():
        # What was adopted as a way back was never seen in production: MLflow knows its source.
        source = inputs.sources.get((other, there.champion), there.source)
        after[other] = replace(before[other], champion=there.champion, source=source)
    draft = OperationRecord(0, OperationKind.ROLLBACK, name, before, after, Attribution(), "")
    for other, entry in after.items():
        older = _target(chain([draft], past()), replace(inputs, state=after), other, only=False)
        after[other] = replace(entry, rollback=older[other].champion if older else None)
    return _decision(inputs, OperationKind.ROLLBACK, name, after)


def plan_repair(inputs: RuleInputs, _past: Past) -> Decision:
    """Decide what puts the aliases and the mirror back where the ledger says; the state stays.

    Raises:
        AliasDrift: The ledger knows no operation, or no champion of a name that was given one by
            hand: it has nothing to keep.
        VersionNotReady: A version that an alias is to name was deleted: what is committed has to
            come to its end.
    """
    if not inputs.state:
        raise no_operation(inputs.base)
    decision = _mended(inputs)
    for move in decision.moves:
        if move.after is None and move.alias is ModelAlias.CHAMPION:
            raise champion_unknown(move.name, move.before)
        if move.after is not None and (move.name, move.after) in inputs.gone:
            raise no_version(inputs.base, move.name, move.after)
    if not decision.mends and not inputs.mirrored:
        return replace(decision, mends="the tag guardianflow.head differed")
    return decision


def _mended(inputs: RuleInputs) -> Decision:
    """Put every alias back that differs from the state."""
    drift = find_drift(inputs.state, inputs.aliases)
    return Decision(
        OperationKind.REPAIR,
        inputs.base,
        inputs.state,
        inputs.state,
        moves=tuple(Move(d.name, d.alias, d.actual, d.expected) for d in drift),
        mends="; ".join(str(found) for found in drift),
    )


def rescue(inputs: RuleInputs, past: Past) -> Decision:
    """Decide how a name gets its @champion back that has none in MLflow any more, or a bad one.

    Where its version still exists, the state stays and the aliases are put back. Where it was
    deleted, the release goes back to the last good state; if there is none for all of it, those
    names go back whose version was deleted. Nothing moves where no name is `unguarded`.

    Raises:
        NoRollbackTarget: The version was deleted, and no former champion is left.
    """
    state = inputs.state
    suspects = unguarded(inputs, past)
    if not suspects:
        return Decision(OperationKind.REPAIR, inputs.base, state, state)
    mended = _mended(inputs)
    lost = [name for name in suspects if (name, state[name].champion) in inputs.gone]
    if not lost:
        return mended
    target = _target(past(), inputs, lost[0], only=False)
    entries: dict[str, ProductionEntry] = {}
    if target is not None and state.keys() <= target.keys():
        entries = {name: target[name] for name in state}
    else:
        for name in lost:
            former = _target(past(), inputs, name, only=True)
            if former is None:
                raise nothing_left(name, state[name].champion)
            entries[name] = former[name]
    return replace(_rolled_back(inputs, past, lost[0], entries), mends=mended.mends)


def unguarded(inputs: RuleInputs, past: Past) -> tuple[str, ...]:
    """The names whose @champion in MLflow is absent, or a version that was rolled back before.

    Whoever set it, a hand or a process that was stopped for too long: neither is what anybody
    decided, and neither can wait for a person.
    """
    return tuple(
        name
        for name, entry in sorted(inputs.state.items())
        if (now := inputs.aliases.get(name, {}).get(ModelAlias.CHAMPION)) != entry.champion
        and (now is None or is_quarantined(inputs.state, past, name, now))
    )


def find_hold(past: Iterable[OperationRecord], now: datetime | None) -> OperationRecord | None:
    """The rollback by an automation that holds a release now, or None.

    Whatever a person did after it ends the hold; what is put back by itself does not.
    """
    for record in past:
        if record.kind is OperationKind.REPAIR and record.by.automatic:
            continue
        if record.kind is not OperationKind.ROLLBACK or not record.by.automatic:
            return None
        over = now is not None and now - datetime.fromisoformat(record.time) >= HOLD
        return None if over else record
    return None


def adopt(inputs: RuleInputs, past: Past) -> Decision:
    """Decide what the state becomes when MLflow's aliases, moved by hand, are taken as right.

    What @rollback names then is where a rollback goes, unless that version is quarantined.

    Raises:
        AliasDrift: A name lost its champion; production is never left empty.
    """
    aliases = inputs.aliases
    after: dict[str, ProductionEntry] = {}
    for name in sorted(aliases.keys() | inputs.state.keys()):
        champion = aliases.get(name, {}).get(ModelAlias.CHAMPION)
        former = inputs.state.get(name)
        if champion is None:
            retired = former and name != inputs.base and name not in aliases
            if former is None or (retired and (name, former.champion) in inputs.gone):
                # Never in production, or a variant whose whole model was deleted.
                continue
            raise champion_gone(name, former.champion)
        rollback = aliases[name].get(ModelAlias.ROLLBACK)
        if rollback is not None and is_quarantined(inputs.state, past, name, rollback):
            rollback = None
        after[name] = ProductionEntry(
            champion=champion,
            rollback=None if rollback == champion else rollback,
            newest=max(champion, rollback or 0, former.newest if former else 0),
            source=inputs.sources.get((name, champion)),
        )
    return _decision(inputs, OperationKind.ADOPT, inputs.base, after)


def projected(
    kind: OperationKind,
    before: ReleaseState,
    after: ReleaseState,
    candidates: Mapping[str, int | None],
) -> dict[str, Aliases]:
    """What the aliases are to be after an operation, whatever half of it is written already.

    @candidate belongs to registration: a promotion clears it only where it names the version just
    promoted, a rollback sets it to what it removed unless a newer version waits. A repair takes
    @rollback away where it was set by hand on a name that has no place in the state.
    """
    wanted: dict[str, Aliases] = {}
    if kind is OperationKind.REPAIR:
        wanted = {n: Aliases(candidate=candidates[n]) for n in candidates.keys() - after.keys()}
    for name, entry in after.items():
        candidate, former = candidates.get(name), champion_of(before, name)
        if candidate in (entry.champion, former):
            candidate = None
        if kind is OperationKind.ROLLBACK and former is not None and former != entry.champion:
            candidate = max(candidate or 0, former)
        wanted[name] = Aliases(entry.champion, entry.rollback, candidate)
    return wanted


def check_expected(state: ReleaseState, name: str, expected: int | None) -> None:
    """Refuse a request that was about another champion than that of now.

    Raises:
        ChampionChanged: The champion is another version, or there is none.
    """
    actual = champion_of(state, name)
    if actual != expected:
        raise ChampionChanged(name, expected, actual)


def is_quarantined(state: ReleaseState, past: Past, name: str, version: int) -> bool:
    """Whether a version was rolled back and never put into production again."""
    entry = state.get(name)
    if entry is None or version > entry.newest:
        return False
    for record in past():
        before, after = record.moved().get(name, (None, None))
        if after == version:
            return False
        if before == version and record.kind is OperationKind.ROLLBACK:
            return True
    return False


def all_quarantined(past: Iterable[OperationRecord]) -> set[tuple[str, int]]:
    """Every name and version that was rolled back and never put into production again."""
    said: dict[tuple[str, int], bool] = {}
    for record in past:
        for name, (before, after) in record.moved().items():
            said.setdefault((name, after), False)
            if before is not None and record.kind is OperationKind.ROLLBACK:
                said.setdefault((name, before), True)
    return {key for key, bad in said.items() if bad}


def _target(
    past: Iterable[OperationRecord], inputs: RuleInputs, name: str, *, only: bool
) -> ReleaseState | None:
    """The last good state in which `name` had another champion, or None."""
    champion = inputs.state[name].champion
    for former, unfit in _former_states(past):
        entry = former.get(name)
        if entry is None:
            # Never empty once set: no older state has a champion of this name either.
            return None
        bad = unfit | {n for n, there in former.items() if (n, there.champion) in inputs.gone}
        if entry.champion != champion and not (name in bad if only else bad):
            return former
    return None


def _former_states(past: Iterable[OperationRecord]) -> Iterator[tuple[ReleaseState, set[str]]]:
    """The states before each record, newest first, with the names whose version is unfit.

    Unfit is what is quarantined, and what a person took out of production by hand without leaving
    @rollback on it. Walking back, the first record that says something about a version says how
    it is now. What an adopted @rollback names was declared good by the person who adopted it.
    """
    bad: dict[tuple[str, int], bool] = {}
    for record in past:
        for name, (before, after) in record.moved().items():
            bad.setdefault((name, after), False)
            left_by_hand = (
                record.kind is OperationKind.ADOPT and record.after[name].rollback != before
            )
            if before is not None and (record.kind is OperationKind.ROLLBACK or left_by_hand):
                bad.setdefault((name, before), True)
        declared = (_way_back(record.after),) if record.kind is OperationKind.ADOPT else ()
        for former in (*declared, record.before):
            yield former, {n for n, entry in former.items() if bad.get((n, entry.champion))}


def _way_back(state: ReleaseState) -> ReleaseState:
    """The state in which every name that has a way back went it."""
    return {
        name: entry
        if entry.rollback is None
        else replace(entry, champion=entry.rollback, source=None)
        for name, entry in state.items()
    }


def _restored(past: Iterable[OperationRecord], name: str) -> bool:
    """Whether the champion of a name came to its place by a rollback."""
    for record in past:
        if name in record.moved():
            return record.kind is OperationKind.ROLLBACK
    return False


def _decision(inputs: RuleInputs, kind: OperationKind, name: str, after: ReleaseState) -> Decision:
    before = inputs.state
    wanted = projected(kind, before, after, inputs.candidates)
    moves: list[Move] = []
    for moving, aliases in wanted.items():
        entry = before.get(moving)
        now = Aliases(
            entry.champion if entry else None,
            entry.rollback if entry else None,
            inputs.pending(moving),
        )
        for alias in (ModelAlias.CHAMPION, ModelAlias.ROLLBACK, ModelAlias.CANDIDATE):
            if now.get(alias) != aliases.get(alias):
                moves.append(Move(moving, alias, now.get(alias), aliases.get(alias)))
    twins: dict[str, int | None] = {}
    if kind is OperationKind.PROMOTE and name == inputs.base:
        # Who moves a base wants to know what becomes of every variant.
        others = inputs.aliases.keys() - {inputs.base}
        twins = {other: _newest_twin(inputs, other, after[name].champion) for other in others}
    return Decision(kind, name, before, after, remarks(inputs.base, after, twins), tuple(moves))


def _newest_twin(inputs: RuleInputs, name: str, source: int) -> int | None:
    """The newest version of a variant that was made from this version of the base, if known."""
    made = [v for (n, v), known in inputs.sources.items() if (n, known) == (name, source)]
    return max(made, default=None)
