"""Killed at every write, raced by others: a rotation happens once or not at all.

A child process is forked from this one, which has imported MLflow, and kills itself before or
after its n-th write to the server. Then the same command runs again.
"""

import itertools
import multiprocessing
import os
import signal

import pytest
import requests
from mlflow.exceptions import MlflowException

from guardianflow.connection import write_repeatably
from guardianflow.errors import (
    ChampionChanged,
    RotationConflict,
)
from guardianflow.registry import ModelRegistryManager
from tests.integration.conftest import Factory

pytestmark = pytest.mark.forks
FORK = multiprocessing.get_context("fork")
READS = ("search", "/get", "download", "health")
DEADLINE_S = 60


def is_write(method, url):
    """Whether a request changes something on the server."""
    return method != "GET" and not any(word in url for word in READS)


def die_before(write):
    """Kill this process before its n-th write, counted from 1.

    To the server, death after one write is death before the next: nothing lies between.
    """
    counter = itertools.count(1)
    original = requests.Session.request

    def request(self, method, url, *args, **kwargs):
        if is_write(method, url) and next(counter) == write:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, method, url, *args, **kwargs)

    requests.Session.request = request


def run_child(work):
    """Run work in a forked process; True if it came to its end."""
    child = FORK.Process(target=work)
    child.start()
    child.join(DEADLINE_S)
    if child.exitcode is None:
        child.terminate()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode == 0


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
        while not self.ended.wait(0.1):
            for name in names:
                try:
                    client.get_model_version_by_alias(name.replace("/", "."), "champion")
                    looks += 1
                except MlflowException as error:
                    failures.append(repr(error))
        self.theirs.send((looks, failures))

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        if self.answers.poll(DEADLINE_S):
            self.looks, self.failures = self.answers.recv()
        self.process.join(DEADLINE_S)


class Plant:
    """A release of a base and its INT8 twin, with version 1 of both in production."""

    def __init__(self, factory, server):
        self.server = server
        self.registry = factory.registry
        self.run_id = factory.run({"weights.bin": b"weights"})
        self.base = factory.name()
        self.twin = f"{self.base}__openvino_int8"
        self.operations = 0
        self.register(1)
        self.rotate("promote", "first")
        self.operations = 1

    def register(self, version):
        for name, tags in (
            (self.base, {}),
            (self.twin, {"guardianflow.source_version": str(version)}),
        ):
            info = self.registry.register_model(
                self.run_id, "model", name, tags=tags, token=f"{self.base}-{version}"
            )
            assert info.version == version

    def rotate(self, kind, token):
        """What a command does, as another process would do it."""
        registry = ModelRegistryManager(self.server)
        if kind == "promote":
            return registry.promote_to_champion(self.base, token=token)
        return registry.rollback(self.base, reason="a test", token=token)

    def repeat_at_a_terminal(self, kind):
        """What the command line does: it plans first, and acts where something is to do."""
        registry = ModelRegistryManager(self.server)
        if kind == "promote":
            plan = registry.plan_promotion(self.base)
            if plan.moves:
                registry.promote_to_champion(
                    self.base, plan.version, expected_champion=plan.champion[self.base]
                )
            return
        plan = registry.plan_rollback(self.base)
        if plan.moves:
            registry.rollback(self.base, expected_champion=plan.champion[self.base])

    def kill_and_repeat(self, kind, write, version):
        """Kill a rotation before a write, run it again, look at the outcome.

        Returns:
            Whether the rotation came to its end before it could be killed.
        """
        token = f"{kind}-{write}"

        def work():
            die_before(write)
            self.rotate(kind, token)

        ended = run_child(work)
        self.operations += 1
        # Every second time as a person at a terminal would do it, who knows of no token.
        if write % 2 and not ended:
            self.repeat_at_a_terminal(kind)
        else:
            assert self.rotate(kind, token).changed
        self.check(kind, version)
        return ended

    def check(self, kind, version):
        """Exactly one operation more, every alias where it belongs, nothing half done."""
        history = self.registry.history(self.base)
        assert [operation.seq for operation in history] == list(range(1, self.operations + 1))
        assert history[-1].kind == kind
        assert self.registry.drift(self.base) == ()
        aliases, old, new = (
            ({"champion": version, "rollback": 1}, "former", "champion")
            if kind == "promote"
            else ({"champion": 1, "candidate": version}, "champion", "rolled_back")
        )
        for name in (self.base, self.twin):
            assert self.aliases(name) == aliases
            versions = {info.version: info for info in self.registry.list_versions(name)}
            assert (versions[1].status, versions[version].status) == (old, new)

    def aliases(self, name):
        model = self.registry.client.get_registered_model(name.replace("/", "."))
        return {alias: int(version) for alias, version in model.aliases.items()}


def test_a_rotation_killed_at_any_write_happens_exactly_once(factory: Factory, mlflow_server):
    plant = Plant(factory, mlflow_server)
    ended = {"promote": False, "rollback": False}
    write = 0
    with Reader(mlflow_server, [plant.base, plant.twin]) as reader:
        while not all(ended.values()):
            write += 1
            plant.register(write + 1)
            for kind in ended:
                ended[kind] = plant.kill_and_repeat(kind, write, write + 1)
    assert reader.failures == []
    assert reader.looks > write
    # The commit, six aliases, the tags, the mirror and the mark: each was the last one once.
    assert write > 12


def interrupt(plant, kind):
    """Kill a rotation between its commit and its first alias."""

    def work():
        die_before(2)
        plant.rotate(kind, f"killed-{kind}")

    assert not run_child(work)
    plant.operations += 1


def test_a_plan_finishes_what_was_interrupted_and_does_not_do_it_twice(
    factory: Factory, mlflow_server
):
    plant = Plant(factory, mlflow_server)
    registry, base, twin = plant.registry, plant.base, plant.twin
    plant.register(2)
    interrupt(plant, "promote")
    before = plant.aliases(base)
    # Without a write: planned on the state as it will be, and nothing moved.
    dry = registry.plan_rollback(base, write=False)
    assert {(m.name, m.after) for m in dry.moves if m.alias == "champion"} == {(base, 1), (twin, 1)}
    assert registry.plan_promotion(base, write=False).moves == ()
    assert plant.aliases(base) == before == {"champion": 1, "candidate": 2}
    plan = registry.plan_promotion(base)
    assert (plan.moves, plan.version) == ((), 2)
    assert "interrupted" in plan.warnings[0]
    plant.check("promote", 2)
    plant.register(3)
    plant.rotate("promote", "third")
    plant.operations += 1
    interrupt(plant, "rollback")
    plan = registry.plan_rollback(base)
    assert plan.moves == ()
    assert plant.aliases(base) == {"champion": 2, "rollback": 1, "candidate": 3}
    # Whoever goes on with this plan all the same is refused, not taken back twice.
    with pytest.raises(ChampionChanged):
        registry.rollback(base, expected_champion=plan.champion[base])
    assert len(registry.history(base)) == plant.operations


def test_another_request_is_planned_on_what_was_finished(factory: Factory, mlflow_server):
    plant = Plant(factory, mlflow_server)
    plant.register(2)
    interrupt(plant, "promote")
    plan = plant.registry.plan_rollback(plant.base)
    assert plan.champion == {plant.base: 2, plant.twin: 2}
    assert "finished now" in plan.warnings[0]
    plant.check("promote", 2)


def test_two_promotions_at_once_are_put_in_a_row(factory: Factory, mlflow_server):
    registry = factory.registry
    name = factory.name()
    factory.base(name)
    registry.promote_to_champion(name, 1)
    for first, second in [(2, 3), (4, 5), (6, 7)]:
        for _ in range(2):
            factory.base(name)
        count = len(registry.history(name))
        barrier = FORK.Barrier(2)

        def work(version, name=name, barrier=barrier):
            mine = ModelRegistryManager(mlflow_server)
            barrier.wait(DEADLINE_S)
            mine.promote_to_champion(name, version, actor=f"p{version}")

        children = [FORK.Process(target=work, args=(version,)) for version in (first, second)]
        with Reader(mlflow_server, [name]) as reader:
            for child in children:
                child.start()
            for child in children:
                child.join(DEADLINE_S)
        assert [child.exitcode for child in children] == [0, 0]
        assert reader.failures == []
        history = registry.history(name)
        assert [operation.seq for operation in history] == list(range(1, len(history) + 1))
        assert len(history) == count + 2
        for former, operation in itertools.pairwise(history):
            assert operation.before == former.after
        assert {operation.actor for operation in history[-2:]} == {f"p{first}", f"p{second}"}
        champion = registry.get_champion(name)
        assert champion is not None
        assert champion.version == history[-1].after[name]
        assert registry.drift(name) == ()


def test_two_guarded_promotions_at_once_have_one_winner(factory: Factory, mlflow_server):
    registry = factory.registry
    name = factory.name()
    for _ in range(3):
        factory.base(name)
    registry.promote_to_champion(name, 1)
    results = FORK.Queue()
    barrier = FORK.Barrier(2)

    def work(version):
        mine = ModelRegistryManager(mlflow_server)
        barrier.wait(DEADLINE_S)
        try:
            mine.promote_to_champion(name, version, expected_champion=1)
            results.put(("won", version))
        except (ChampionChanged, RotationConflict) as error:
            results.put((type(error).__name__, version))

    children = [FORK.Process(target=work, args=(version,)) for version in (2, 3)]
    for child in children:
        child.start()
    answers = sorted(results.get(timeout=DEADLINE_S) for _ in children)
    for child in children:
        child.join(DEADLINE_S)
    assert [answer for answer, _ in answers] == ["ChampionChanged", "won"]
    champion = registry.get_champion(name)
    assert champion is not None
    assert champion.version == answers[1][1]
    assert len(registry.history(name)) == 2


def test_the_first_operations_of_two_processes_share_one_ledger(factory: Factory, mlflow_server):
    name = factory.name()
    for _ in range(2):
        factory.base(name)
    barrier = FORK.Barrier(2)

    def work(version):
        mine = ModelRegistryManager(mlflow_server)
        barrier.wait(DEADLINE_S)
        mine.promote_to_champion(name, version)

    children = [FORK.Process(target=work, args=(version,)) for version in (1, 2)]
    for child in children:
        child.start()
    for child in children:
        child.join(DEADLINE_S)
    assert [child.exitcode for child in children] == [0, 0]
    assert [operation.seq for operation in factory.registry.history(name)] == [1, 2]


def test_a_registration_killed_at_any_write_gives_one_version(factory: Factory, mlflow_server):
    run_id = factory.run()
    for write in itertools.count(1):
        name = factory.name()

        def work(name=name, write=write):
            die_before(write)
            ModelRegistryManager(mlflow_server).register_model(run_id, "model", name)

        ended = run_child(work)
        info = factory.registry.register_model(run_id, "model", name)
        assert info.version == 1
        assert info.aliases == ("candidate",)
        assert len(factory.registry.list_versions(name)) == 1
        if ended:
            # The name, the version and @candidate.
            assert write == 4
            return


def test_the_same_write_by_many_at_once_collides_unseen(factory: Factory, mlflow_server):
    name = factory.name()
    factory.base(name)
    registered = name.replace("/", ".")
    barrier = FORK.Barrier(4)

    def work():
        client = ModelRegistryManager(mlflow_server).client
        for number in range(8):
            barrier.wait(DEADLINE_S)
            write_repeatably(
                lambda key=f"tag-{number}": client.set_model_version_tag(registered, "1", key, "x")
            )

    children = [FORK.Process(target=work) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(DEADLINE_S)
    assert [child.exitcode for child in children] == [0] * 4
