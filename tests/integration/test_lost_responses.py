"""Answers that are lost, cut, late or untrue: every command happens once, and says what is so.

The faults are those of `tests/proxy.py`. MLflow's client repeats requests by itself, as often as
on the command line; where it gives up, the command is run again, once.
"""

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from guardianflow.errors import RegistryUnavailable
from guardianflow.machine.servers import QUICK_FAILURE
from guardianflow.registry import ModelRegistryManager, Operation
from tests.integration.conftest import Factory
from tests.integration.faults import (
    CROSSED,
    Again,
    Command,
    Plant,
    Promote,
    Register,
    Repair,
    RollBack,
)
from tests.proxy import SLOW, Fault, Proxy, proxy_before

pytestmark = CROSSED
PATIENCE_S = 1
ATTEMPTS = 1 + int(QUICK_FAILURE["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])


@dataclass(frozen=True)
class Case:
    """A write that is spoiled, and who runs the command again if it says to have failed."""

    write: int
    fault: Fault
    times: int
    """1: the client's own repetition goes through. ATTEMPTS: none does."""
    again: Again


def cases(writes: int, *, crossed: bool, first: int = 0) -> Iterator[Case]:
    """Every write with every fault, brief and lasting; or the faults take turns over the writes."""
    faults = [(fault, times) for times in (1, ATTEMPTS) for fault in Fault]
    quick = [(fault, times) for fault, times in faults if times == 1 or fault not in SLOW]
    for write in range(1, writes + 1):
        turn = quick[(write + first) % len(quick)]
        for fault, times in faults if crossed else [turn]:
            yield Case(write, fault, times, (Again.BY_HAND, Again.WITH_TOKEN)[write % 2])


@pytest.fixture(scope="module")
def proxy(mlflow_server):
    with proxy_before(mlflow_server, PATIENCE_S + 0.2) as proxy:
        yield proxy


class Caller:
    """A process of the command line behind the proxy: its settings, but for the pauses."""

    def __init__(self, factory, server, proxy: Proxy, monkeypatch, variants=()):
        self.plant = Plant(factory, server, variants)
        self.proxy = proxy
        self.environment = monkeypatch
        for key, value in QUICK_FAILURE.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")

    def survives(self, command: Command, case: Case | None):
        """Spoil a write; run the command again only if it says to have failed."""
        plant = self.plant
        if case is None:
            plant.writes_of(command)
            return
        command.prepare(plant)
        token = uuid.uuid4().hex
        answer = self.attempt(command, token, case)
        assert self.proxy.hits >= 1
        # MLflow has no compare-and-swap for versions: one that is made after its client has gone on
        # is without an alias, and is found and removed by the next attempt alone.
        unseen = case.fault is Fault.HELD and isinstance(command, Register)
        failed = answer is None or unseen
        if failed and case.again is Again.BY_HAND:
            command.repeat_by_hand(ModelRegistryManager(self.proxy.uri), plant)
        elif failed:
            answer = command.run(ModelRegistryManager(self.proxy.uri), plant, token)
        plant.has_seen(command)
        if isinstance(answer, Operation):
            assert (answer.seq, answer.changed) == (plant.operations, True), case

    def attempt(self, command: Command, token: str, case: Case) -> object:
        """The command's answer; None if it says that the server could not be reached."""
        registry = ModelRegistryManager(self.proxy.uri)
        with self.environment.context() as patch:
            if case.fault in SLOW:
                patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(PATIENCE_S))
            self.proxy.arm(case.fault, case.write, case.times)
            try:
                return command.run(registry, self.plant, token)
            except RegistryUnavailable:
                return None
            finally:
                self.proxy.disarm()


@pytest.fixture
def caller(factory: Factory, mlflow_server, proxy, monkeypatch):
    return Caller(factory, mlflow_server, proxy, monkeypatch)


def test_promotions_and_rollbacks_happen_once(caller, crossed):
    plant, commands = caller.plant.started(), (Promote(), RollBack())
    counts = [plant.writes_of(command) for command in commands]
    spoiled = (cases(n, crossed=crossed, first=5 * i) for i, n in enumerate(counts))
    for pair in itertools.zip_longest(*spoiled):
        for command, case in zip(commands, pair, strict=True):
            caller.survives(command, case)


@pytest.mark.parametrize("keep", ["ledger", "mlflow"])
def test_repairs_happen_once(caller, crossed, keep):
    plant, repair = caller.plant.started(), Repair(keep)
    # Once before it is counted: the first acceptance has a @candidate to clear.
    caller.survives(repair, None)
    first = 3 if keep == "ledger" else 7
    for case in cases(plant.writes_of(repair), crossed=crossed, first=first):
        caller.survives(repair, case)


def test_a_first_promotion_makes_one_ledger(factory, mlflow_server, proxy, monkeypatch, crossed):
    def fresh():
        caller = Caller(factory, mlflow_server, proxy, monkeypatch)
        caller.plant.versions = 1
        caller.plant.register(caller.plant.registry, None)
        return caller

    fresh().plant.writes_of(Promote())
    for case in cases(fresh().plant.writes_of(Promote()), crossed=crossed, first=2):
        fresh().survives(Promote(), case)


def test_registrations_happen_once(caller, crossed):
    writes = caller.plant.writes_of(Register())
    # Two turns: in one the answer about the model's link is lost, in one that about the version.
    for first in (4,) if crossed else (4, 7):
        for case in cases(writes, crossed=crossed, first=first):
            caller.survives(Register(), case)
