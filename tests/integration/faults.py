"""Kills a process at a chosen write to MLflow, repeats its command, and looks at what is left.

    prepare -> child runs the command and dies at a write -> look -> the command again -> check

The child is forked from this process, which has imported MLflow. To the server, death after one
write is death before the next; to the client it is not: it has or has not seen the answer.
"""

import itertools
import multiprocessing
import os
import signal
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

import pytest
import requests
from mlflow.exceptions import MlflowException

from guardianflow.mlflow_store.registered_models import read_release_models
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.ledger.mirror import read_mirror
from testbed.runs import make_run
from tests.integration.conftest import Factory

FORK = multiprocessing.get_context("fork")
DEADLINE_S = 60
VARIANTS = ("openvino_int8", "openvino_fp16")
CROSSED = pytest.mark.parametrize(
    "crossed",
    [
        pytest.param(False, id="in turns"),
        pytest.param(True, id="all", marks=[pytest.mark.chaos, pytest.mark.timeout(1800)]),
    ],
)
"""In CI what is varied takes turns; `make chaos` crosses everything with everything."""
_READS = ("search", "/get", "download", "health")
_PAUSE_S = 0.04
ACTOR = "the night shift"


class Phase(StrEnum):
    """Where the process dies: before it sends a write, or after the answer to one has come."""

    BEFORE = "before"
    AFTER = "after"


class Again(StrEnum):
    """Who runs the command again."""

    BY_HAND = "by hand"
    """A person at a terminal: plans first, acts where something is to do, knows of no token."""
    WITH_TOKEN = "with its token"
    """A flow run that is tried again."""
    AFTER_ANOTHER = "by hand, after somebody else"
    """As by hand, but the reconcile flow has finished meanwhile what was begun."""


@dataclass(frozen=True)
class Death:
    """A SIGKILL when the server has done so many writes, and who runs the command again."""

    writes: int
    phase: Phase
    again: Again

    def arm(self) -> None:
        """Let this process die so."""
        fatal = self.writes + (self.phase is Phase.BEFORE)
        numbers = itertools.count(1)
        original = requests.Session.request

        def request(session, method, url, *args, **kwargs):
            last = is_write(method, url) and next(numbers) == fatal
            if last and self.phase is Phase.BEFORE:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = original(session, method, url, *args, **kwargs)
            if last:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        requests.Session.request = request


def deaths(writes: int, *, crossed: bool) -> Iterator[Death]:
    """The deaths of a command with so many writes: with 0, 1, 2 ... all of them done.

    Crossed, each in both phases and with all who run it again; else these take turns, so that six
    deaths in a row have all six combinations. All writes done is always after the last.
    """
    combinations = [(phase, again) for again in Again for phase in Phase]
    for done in range(writes + 1):
        for phase, again in combinations if crossed else [combinations[done % len(combinations)]]:
            if done == writes:
                if phase is Phase.AFTER or not crossed:
                    yield Death(done, Phase.AFTER, again)
            elif done > 0 or phase is Phase.BEFORE:
                yield Death(done, phase, again)


def is_write(method: str, url: str) -> bool:
    """Whether a request changes something on the server."""
    return method.upper() != "GET" and not any(word in url for word in _READS)


@contextmanager
def recorded_writes() -> Iterator[list[str]]:
    """The writes of this process within the block, in their order."""
    writes: list[str] = []
    original = requests.Session.request

    def request(session, method, url, *args, **kwargs):
        if is_write(method, url):
            writes.append(f"{method} {url}")
        return original(session, method, url, *args, **kwargs)

    requests.Session.request = request
    try:
        yield writes
    finally:
        requests.Session.request = original


class Reader:
    """Looks at @champion all the time, in a process of its own: it must be there at every moment.

    Not a thread: a fork would copy the locks that the thread holds, and the child would hang.
    """

    def __init__(self, server, names):
        self.answers, self.theirs = FORK.Pipe()
        self.ended = FORK.Event()
        self.process = FORK.Process(target=self.look, args=(server, names))
        self.looks, self.failures = 0, ["the reader gave no answer"]

    def look(self, server, names):
        client = ModelRegistryManager(server).client
        looks, failures = 0, []
        for name in itertools.cycle(names):
            if self.ended.wait(_PAUSE_S):
                break
            try:
                client.get_model_version_by_alias(name.replace("/", "."), "champion")
                looks += 1
            except MlflowException as error:
                failures.append(f"{name}: {error!r}")
        self.theirs.send((looks, failures))

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        if self.answers.poll(DEADLINE_S):
            self.looks, self.failures = self.answers.recv()
        self.process.join(DEADLINE_S)

    def confirm(self, at_least: int):
        """It looked often, and never found a name without its champion."""
        assert self.failures == []
        assert self.looks > at_least


class Plant:
    """A release of one name or more; it knows what everything is to be, and `check` compares.

    Started, version 2 of each name is champion after 1, and version 3 waits. Commands move them to
    and fro: what was rolled back is promoted again with force, which saves registering others. A
    rollback too far would come to version 1.
    """

    def __init__(self, factory: Factory, server: str, variants=()):
        self.server = server
        self.registry = factory.registry
        self.base = factory.name()
        self.release = self.registry.release(self.base)
        self.names = [self.base, *(f"{self.base}__{variant}" for variant in variants)]
        self.run_id, self.path = factory.run({"weights.bin": b"weights"}), "model"
        self.versions = self.operations = 0
        self.removed: set[int] = set()
        self.aliases: dict[str, int] = {}
        self.statuses: dict[int, str] = {}

    def started(self) -> "Plant":
        """With version 2 in production after 1, and version 3 waiting."""
        for _ in range(3):
            self.versions += 1
            self.register(self.registry, f"{self.base}-{self.versions}")
            if self.versions < 3:
                self.registry.promote_to_champion(self.base)
        self.operations = 2
        self.aliases = {"champion": 2, "rollback": 1, "candidate": 3}
        self.statuses = {1: "former", 2: "champion"}
        return self

    def register(self, registry: ModelRegistryManager, token: str | None):
        """Register the newest version of every name."""
        for name in self.names:
            tags = {"guardianflow.source_version": str(self.versions)} if "__" in name else {}
            registry.register_model(self.run_id, self.path, name, tags=tags, token=token)
        return self.versions

    def move_by_hand(self, alias: str, version: int | None):
        """What somebody does in the MLflow UI, to every name."""
        client = self.registry.client
        for name in map(ModelName.parse, self.names):
            if version is None:
                client.delete_registered_model_alias(name.registered, alias)
            else:
                client.set_registered_model_alias(name.registered, alias, str(version))

    def writes_of(self, command: "Command") -> int:
        """How many writes a command makes that nothing disturbs."""
        command.prepare(self)
        with recorded_writes() as writes:
            command.run(self.registry, self, uuid.uuid4().hex)
        begun = self.operations > 0 and any("runs/create" in write for write in writes)
        self.has_seen(command)
        # Every fiftieth operation begins a run of the ledger, and counts for no other.
        return self.writes_of(command) if begun else len(writes)

    def survives(self, command: "Command", death: Death | None):
        """Let a command die, run it again, and look whether it happened exactly once."""
        command.prepare(self)
        token = uuid.uuid4().hex
        assert self.dies(command, token, death) is (death is not None)
        if death:
            self.look()
            # A new process would have a new client, too.
            again = ModelRegistryManager(self.server)
            if death.again is Again.AFTER_ANOTHER:
                again.release(self.base).finish()
            if death.again is Again.WITH_TOKEN:
                command.run(again, self, token)
            else:
                command.repeat_by_hand(again, self)
        self.has_seen(command)

    def survives_ever_later(self, command: "Command") -> int:
        """Let a command die after 1 write, the next attempt after 2 more, and so on to its end."""
        command.prepare(self)
        token = uuid.uuid4().hex
        for writes in itertools.count(1):
            if not self.dies(command, token, Death(writes, Phase.AFTER, Again.WITH_TOKEN)):
                break
            self.look()
        self.has_seen(command)
        return writes - 1

    def dies(self, command: "Command", token: str, death: Death | None) -> bool:
        """Run a command in a process of its own; whether it was killed before it ended."""

        def work():
            registry = ModelRegistryManager(self.server)
            if death:
                death.arm()
            command.run(registry, self, token)

        child = FORK.Process(target=work)
        child.start()
        child.join(DEADLINE_S)
        if child.exitcode is None:
            child.kill()
        assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
        return child.exitcode != 0

    def has_seen(self, command: "Command"):
        """Check that the command happened once and left nothing half done."""
        command.expect(self)
        self.check()

    def look(self):
        """Half done or not: whoever had a champion has one."""
        found = read_release_models(self.registry.client, ModelName.parse(self.base))
        if "champion" in self.aliases:
            assert {name for name, m in found.items() if "champion" in m.aliases} == {*self.names}
        return found

    def check(self):
        """Compare ledger, mirror, aliases, tags and versions with what they are to be."""
        found = self.release.inspect()
        assert found.head.seq == self.operations
        assert found.head.interrupted is None
        assert found.drift == ()
        mirror = read_mirror(found.models[self.base])
        if self.operations:
            assert (mirror.seq, mirror.digest) == (found.head.seq, found.head.digest)
            assert mirror.agrees(found.models)
        aliases = {name: dict(model.aliases) for name, model in found.models.items()}
        assert aliases == dict.fromkeys(self.names, self.aliases)
        base = ModelName.parse(self.base).registered
        versions = self.registry.client.search_model_versions(f"name LIKE '{base}%'")
        assert {
            (v.name, int(v.version)): v.tags.get("guardianflow.status", "") for v in versions
        } == {
            (ModelName.parse(name).registered, version): self.statuses.get(version, "")
            for name in self.names
            for version in {*range(1, self.versions + 1)} - self.removed
        }


_kept: dict[tuple[str, ...], Plant] = {}


@contextmanager
def shared_plant(factory: Factory, server: str, variants: tuple[str, ...]) -> Iterator[Plant]:
    """A started plant that tests pass on to each other while none fails: a start takes seconds."""
    plant = _kept.pop(variants, None) or Plant(factory, server, variants).started()
    yield plant
    _kept[variants] = plant


class Command(Protocol):
    """A command that is killed: what it needs, what it does, what it leaves."""

    def prepare(self, plant: Plant) -> None:
        """Bring the plant where the command has something to do."""

    def run(self, registry: ModelRegistryManager, plant: Plant, token: str) -> object:
        """What the command does."""

    def repeat_by_hand(self, registry: ModelRegistryManager, plant: Plant) -> None:
        """What a person does who saw the command die."""

    def expect(self, plant: Plant) -> None:
        """Tell the plant what everything is to be now."""


class Promote:
    """The waiting version becomes champion."""

    why: ClassVar[Mapping[str, object]] = {"force": True, "reason": "a test"}

    def prepare(self, plant):
        """It waits."""

    def run(self, registry, plant, token):
        return registry.promote_to_champion(plant.base, plant.versions, token=token, **self.why)

    def repeat_by_hand(self, registry, plant):
        plan = registry.plan_promotion(plant.base, plant.versions, **self.why)
        if plan.moves:
            expected = plan.champion[plant.base]
            registry.promote_to_champion(
                plant.base, plan.version, expected_champion=expected, **self.why
            )

    def expect(self, plant):
        plant.operations += 1
        former = plant.aliases.get("champion")
        plant.aliases = {"champion": plant.versions} | ({"rollback": former} if former else {})
        plant.statuses |= {plant.versions: "champion"} | ({former: "former"} if former else {})


class RollBack:
    """Version 2 becomes champion again."""

    def prepare(self, plant):
        """Version 3 is champion."""

    def run(self, registry, plant, token):
        return registry.rollback(plant.base, actor=ACTOR, reason="a test", token=token)

    def repeat_by_hand(self, registry, plant):
        plan = registry.plan_rollback(plant.base, actor=ACTOR)
        if plan.moves and plan.repeats is None:
            registry.rollback(plant.base, actor=ACTOR, expected_champion=plan.champion[plant.base])

    def expect(self, plant):
        plant.operations += 1
        plant.aliases = {"champion": 2, "rollback": 1, "candidate": 3}
        plant.statuses = {1: "former", 2: "champion", 3: "rolled_back"}


class Repair:
    """Somebody moved @champion and @rollback by hand; one of the two sides is kept."""

    def __init__(self, keep):
        self.keep = keep

    def prepare(self, plant):
        self.slip = 5 - plant.aliases["champion"]
        plant.move_by_hand("champion", self.slip)
        plant.move_by_hand("rollback", self.slip)

    def run(self, registry, plant, token):
        return registry.repair(plant.base, self.keep, reason="a test", token=token)

    def repeat_by_hand(self, registry, plant):
        registry.repair(plant.base, self.keep, reason="a test")

    def expect(self, plant):
        plant.operations += 1
        if self.keep == "mlflow":
            plant.aliases = {"champion": self.slip}
            plant.statuses |= {5 - self.slip: "former", self.slip: "champion"}


class Rescue:
    """Somebody deleted @champion by hand; it is put back without asking."""

    def prepare(self, plant):
        plant.move_by_hand("champion", None)
        self.champion = plant.aliases.pop("champion")

    def run(self, registry, plant, token):
        return registry.rescue(plant.base)

    def repeat_by_hand(self, registry, plant):
        registry.rescue(plant.base)

    def expect(self, plant):
        plant.operations += 1
        plant.aliases["champion"] = self.champion


class Register:
    """What a run left as a plain file becomes the next version of every name.

    A registration is known by what it registers: nobody needs to keep a token.
    """

    def prepare(self, plant):
        plant.versions += 1
        client = plant.registry.client
        plant.run_id = make_run(client, {"weights.bin": b"weights"}, model=False)
        plant.path = "weights.bin"

    def run(self, registry, plant, token):
        return plant.register(registry, None)

    def repeat_by_hand(self, registry, plant):
        plant.register(registry, None)

    def expect(self, plant):
        newest = plant.registry.list_versions(plant.base)[-1].version
        # The numbers of versions that a lost answer made twice, and that were removed.
        plant.removed |= {*range(plant.versions, newest)}
        plant.versions = newest
        plant.aliases = {**plant.aliases, "candidate": newest}
