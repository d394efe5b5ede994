"""The rules of the rotation against thousands of random schedules; no server.

Registrations, promotions, rollbacks by people and by automations, hands in MLflow that move and
delete aliases and versions, repairs, adoptions and rescues, of three names. `tests/chaos/law.py`
tells the law in another way than the rules; it foretells what each of them must answer.

`make chaos` runs 10,000 schedules, `make test` fewer and the same each time (tests/conftest.py).
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from guardianflow.errors import NoRollbackTarget, Refused
from guardianflow.registry.release_state import Decision, OperationKind, OperationRecord, find_drift
from guardianflow.registry.rotation.rules import (
    adopt,
    find_hold,
    is_quarantined,
    plan_promotion,
    plan_rollback,
    rescue,
    unguarded,
)
from tests.chaos.evidence import Entry
from tests.chaos.law import Law
from tests.unit.rotation_world import BASE, INT4, INT8, World

NAMES = (BASE, INT8, INT4)
names = st.sampled_from(NAMES)


def entry_of(record: OperationRecord) -> Entry:
    """An operation as the law sees it."""
    return Entry(
        record.seq,
        record.kind.value,
        record.name,
        {name: place.champion for name, place in record.before.items()},
        {name: place.champion for name, place in record.after.items()},
        {name: place.rollback for name, place in record.after.items()},
        record.by.token,
        record.by.automatic,
    )


class Schedule(RuleBasedStateMachine):
    """What people, automations and hands may do in any order, and what must hold after each."""

    @initialize()
    def start(self):
        self.world = World()
        self.law = Law(BASE, self.world.sources)
        self.law.gone = self.world.gone
        self.ever: set[str] = set()

    @property
    def drift(self):
        return find_drift(self.world.state, self.world.aliases)

    @property
    def unguarded(self):
        return unguarded(self.world.inputs, self.world.past)

    def decide(self, rules, foretold):
        """What the rules say; they have to refuse just where the law does."""
        try:
            decision = rules()
        except Refused:
            assert foretold is None
            return None
        assert {n: p.champion for n, p in decision.after.items()} == foretold
        return decision

    def carry_out(self, decision: Decision, *, automatic=False, force=False, judged=True):
        before = len(self.world.records)
        self.world.apply(decision, automatic=automatic)
        for record in self.world.records[before:]:
            entry = entry_of(record)
            if judged:
                assert list(self.law.judge(entry, force=force)) == []
            self.law.go_on(entry)

    @rule()
    def register_base(self):
        self.world.register(BASE)

    @rule(name=st.sampled_from([INT8, INT4]), back=st.integers(0, 2))
    @precondition(lambda self: self.world.newest.get(BASE))
    def register_variant(self, name, back):
        self.world.register(name, max(1, self.world.newest[BASE] - back))

    @rule(name=names, version=st.none() | st.integers(1, 6), force=st.booleans())
    @precondition(lambda self: not self.drift)
    def promote(self, name, version, force):
        if version is not None and (
            version > self.world.newest.get(name, 0) or (name, version) in self.world.gone
        ):
            return
        inputs = self.world.inputs
        waiting = {n: v for n in NAMES if (v := inputs.pending(n)) is not None}
        decision = self.decide(
            lambda: plan_promotion(
                inputs, self.world.past, name, version, force=force, reason="because"
            ),
            self.law.promoted(name, version, waiting, force=force),
        )
        if decision:
            self.carry_out(decision, force=force)

    @rule(name=names, automatic=st.booleans(), only=st.booleans())
    @precondition(lambda self: all(drift.actual is None for drift in self.drift))
    def roll_back(self, name, automatic, only):
        decision = self.decide(
            lambda: plan_rollback(
                self.world.inputs,
                self.world.past,
                name,
                only=only,
                automatic=automatic,
                reason="because",
            ),
            self.law.rolled_back(name, only=only, automatic=automatic),
        )
        if decision:
            self.carry_out(decision, automatic=automatic)
            # With `only`, another name can be left without its version: that is to be rescued.
            assert all((d.name, d.expected) in self.world.gone for d in self.drift)

    @rule(name=names, alias=st.sampled_from(["champion", "rollback"]), version=st.integers(0, 6))
    def move_by_hand(self, name, alias, version):
        if version == 0:
            self.world.aliases.get(name, {}).pop(alias, None)
        elif version <= self.world.newest.get(name, 0) and (name, version) not in self.world.gone:
            self.world.aliases[name] = {**self.world.aliases.get(name, {}), alias: version}

    @rule(name=names, version=st.integers(1, 6))
    def delete_version(self, name, version):
        if version <= self.world.newest.get(name, 0):
            self.world.delete(name, version)

    @rule()
    @precondition(lambda self: self.drift)
    def repair(self):
        """Refused where the ledger has nothing to keep, or its version is gone."""
        state = self.world.state
        for drift in self.drift:
            outsider = drift.expected is None and drift.alias == "champion"
            if outsider or (drift.name, drift.expected) in self.world.gone:
                return
        self.carry_out(Decision(OperationKind.REPAIR, BASE, state, state))
        assert not self.drift

    @rule()
    @precondition(lambda self: self.drift)
    def adopt(self):
        aliases = {name: dict(present) for name, present in self.world.aliases.items()}
        empty = [n for n in self.world.state if "champion" not in aliases.get(n, {})]
        champions = {n: a["champion"] for n, a in aliases.items() if "champion" in a}
        decision = self.decide(
            lambda: adopt(self.world.inputs, self.world.past), None if empty else champions
        )
        if decision:
            self.carry_out(decision)

    @rule()
    @precondition(lambda self: self.unguarded)
    def rescue(self):
        inputs = self.world.inputs
        decision = self.decide(
            lambda: rescue(inputs, self.world.past), self.law.rescued(self.unguarded)
        )
        if decision:
            self.carry_out(decision, automatic=True, judged=False)
            assert not self.unguarded
            for moved in decision.moved().items():
                assert (moved[0], moved[1][1]) not in self.law.unfit | self.law.gone

    @invariant()
    def production_is_never_empty_and_never_quarantined(self):
        champions = self.world.champions
        assert self.ever <= champions.keys()
        self.ever |= champions.keys()
        assert not self.law.quarantined & set(champions.items())

    @invariant()
    def quarantine_and_hold_are_as_the_law_says(self):
        state, past = self.world.state, self.world.past
        for name in state:
            for version in range(1, self.world.newest.get(name, 0) + 1):
                bad = (name, version) in self.law.quarantined
                assert is_quarantined(state, past, name, version) is bad
        assert bool(find_hold(past(), None)) is self.law.held

    @invariant()
    def each_place_is_sound(self):
        for name, place in self.world.state.items():
            assert place.newest >= place.champion
            assert place.rollback != place.champion
            if place.rollback is not None:
                assert (name, place.rollback) not in self.law.quarantined
            assert place.source == self.world.sources.get((name, place.champion))

    @invariant()
    def the_last_known_good_is_never_lost(self):
        """Whatever happened: a person who rolls back comes to the last good state, if any."""
        for name in self.world.state:
            foretold = self.law.rolled_back(name, only=False, automatic=False)
            try:
                decision = plan_rollback(self.world.inputs, self.world.past, name)
            except NoRollbackTarget:
                assert foretold is None
            else:
                assert {n: p.champion for n, p in decision.after.items()} == foretold


TestSchedules = Schedule.TestCase
TestSchedules.settings = settings(stateful_step_count=30)
