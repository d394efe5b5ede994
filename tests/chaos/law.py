"""What a rotation may do, told a second time and in another way than the product's rules.

The product walks the records backwards; this walks forwards and keeps, in plain sets, which
versions are bad now and which states were in production. So one mistake is not made twice. It
judges the histories of chaos runs, and it foretells what the rules answer to random schedules.
"""

from collections.abc import Iterator, Mapping

from tests.chaos.evidence import Entry

State = dict[str, int]


class Law:
    """The release after each operation, and whether the next one is legal."""

    def __init__(self, base: str, sources: Mapping[tuple[str, int], int | None]) -> None:
        self.base = base
        self.sources = sources
        self.champions: State = {}
        self.rollback: dict[str, int | None] = {}
        self.quarantined: set[tuple[str, int]] = set()
        """Rolled back, and never champion again since."""
        self.unfit: set[tuple[str, int]] = set()
        """Quarantined, or taken out of production by hand: no way back leads there."""
        self.gone: set[tuple[str, int]] = set()
        """Deleted in MLflow: no way back leads there either."""
        self.past: list[State] = []
        """The states in which the release was, oldest first."""
        self.restored: set[str] = set()
        """The names whose champion was brought back by a rollback."""
        self.held = False
        """An automation rolled back, and no person has acted since."""

    def go_on(self, entry: Entry) -> None:
        """Take an operation as done."""
        self.past.append(dict(entry.before))
        for name, (before, after) in entry.moved().items():
            self.quarantined.discard((name, after))
            self.unfit.discard((name, after))
            (self.restored.add if entry.kind == "rollback" else self.restored.discard)(name)
            if before is None:
                continue
            if entry.kind == "rollback":
                self.quarantined.add((name, before))
                self.unfit.add((name, before))
            elif entry.kind == "adopt" and entry.rollback.get(name) != before:
                self.unfit.add((name, before))
        if entry.kind == "adopt":
            # Whoever adopts an alias says that what it names is good.
            ways = {name: version for name, version in entry.rollback.items() if version}
            self.unfit -= set(ways.items())
            self.past.append({**entry.after, **ways})
        if not (entry.kind == "repair" and entry.automatic):
            self.held = entry.kind == "rollback" and entry.automatic
        self.champions = dict(entry.after)
        self.rollback = dict(entry.rollback)

    def way_back(self, name: str, *, only: bool = False) -> State | None:
        """The last state in which a name had another champion and nothing in it is bad now."""
        bad = self.unfit | self.gone
        for state in reversed(self.past):
            if name not in state:
                return None
            spoiled = any(pair in bad for pair in state.items() if pair[0] == name or not only)
            if state[name] != self.champions[name] and not spoiled:
                return state
        return None

    # What the next operation leads to; None where it is to be refused.

    def promoted(
        self, name: str, version: int | None, waiting: State, *, force: bool
    ) -> State | None:
        """The champions after a promotion."""
        version = version or waiting.get(name)
        if version is None or self.champions.get(name) == version:
            return self.champions if version else None
        base, source = self.base, self.sources.get((name, version))
        if name == base:
            together = {base: version}
        elif source is not None and source == self.champions.get(base):
            together = {name: version}
        elif source is not None and source == waiting.get(base):
            together = {base: source, name: version}
        else:
            return None
        if not force and (self.held or self.quarantined & set(together.items())):
            return None
        for twin, number in waiting.items() if base in together else ():
            made_here = self.sources.get((twin, number)) == together[base]
            allowed = force or (twin, number) not in self.quarantined
            if twin not in together and made_here and allowed:
                together[twin] = number
        return {**self.champions, **together}

    def rolled_back(self, name: str, *, only: bool, automatic: bool) -> State | None:
        """The champions after a rollback."""
        if name not in self.champions or (automatic and self.held):
            return None
        target = self.way_back(name, only=only)
        names = {name} if only else self.champions.keys()
        if target is None or not names <= target.keys():
            return None
        after = {**self.champions, **{other: target[other] for other in names}}
        if automatic and any(after[n] != self.champions[n] for n in self.restored):
            return None
        return after

    def rescued(self, empty: list[str]) -> State | None:
        """The champions after a rescue of names without an alias."""
        lost = [name for name in empty if (name, self.champions[name]) in self.gone]
        if not lost:
            return self.champions
        target = self.way_back(lost[0])
        if target is not None and self.champions.keys() <= target.keys():
            return {name: target[name] for name in self.champions}
        targets = {name: self.way_back(name, only=True) for name in lost}
        if not all(targets.values()):
            return None
        return {**self.champions, **{n: state[n] for n, state in targets.items() if state}}

    def judge(self, entry: Entry, *, force: bool) -> Iterator[str]:
        """What is illegal about the next operation."""
        yield from self._judge_ways_back(entry)
        if entry.kind == "promote":
            yield from self._judge_promotion(entry, force=force)
        elif entry.kind == "rollback":
            yield from self._judge_rollback(entry)
        elif entry.kind == "repair" and entry.moved():
            yield f"a repair moved {entry.moved()}"

    def _judge_ways_back(self, entry: Entry) -> Iterator[str]:
        for name, version in entry.rollback.items():
            if version is None or version == self.rollback.get(name):
                continue
            ever = {state.get(name) for state in (*self.past, self.champions)}
            if entry.kind != "adopt" and version not in ever:
                yield f"@rollback of {name} is to be {version}, which was never champion"
            if version == entry.after.get(name):
                yield f"@rollback of {name} is its champion"
            bad = self.quarantined if entry.kind == "adopt" else self.unfit
            if (name, version) in bad:
                yield f"@rollback of {name} is to be {version}, which is bad"

    def _judge_promotion(self, entry: Entry, *, force: bool) -> Iterator[str]:
        moved = entry.moved()
        if entry.name not in moved:
            yield f"it does not move {entry.name}"
        if self.held and not force:
            yield "the release is on hold, and nobody forced it"
        for name, (before, after) in moved.items():
            if (name, after) in self.quarantined and not force:
                yield f"{name} version {after} is quarantined, and nobody forced it"
            if entry.rollback.get(name) != before:
                yield f"the way back of {name} is {entry.rollback.get(name)}, not {before}"
            if name != self.base and self.sources.get((name, after)) != entry.after.get(self.base):
                yield f"{name} version {after} was not made from the champion of {self.base}"

    def _judge_rollback(self, entry: Entry) -> Iterator[str]:
        moved = entry.moved()
        if entry.name not in moved:
            yield f"it does not move {entry.name}"
            return
        if entry.automatic and entry.name in self.restored:
            yield f"an automation took back a rollback of {entry.name}"
        for name, (_, after) in moved.items():
            if (name, after) in self.unfit:
                yield f"{name} version {after} is bad"
            if not any(state.get(name) == after for state in self.past):
                yield f"{name} version {after} was never in production"
        legal = [
            self.rolled_back(entry.name, only=only, automatic=entry.automatic)
            for only in (False, True)
        ]
        if dict(entry.after) not in legal:
            yield f"it leads to {dict(entry.after)}, the last good states are {legal}"
