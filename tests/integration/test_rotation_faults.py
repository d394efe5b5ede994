"""Killed at every write, raced by others: a rotation happens once or not at all.

What kills, repeats and looks is in `faults.py`. In CI the phases and who repeats take turns over
the writes; `make chaos` crosses them all.
"""

import itertools
import os
import signal
import uuid
from datetime import UTC, datetime

import pytest
import requests

from guardianflow.errors import ChampionChanged, RotationConflict
from guardianflow.mlflow_store.client import write_repeatably
from guardianflow.monitoring.findings import UNDER_WAY, FileCheck
from guardianflow.monitoring.reconciliation import reconcile
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.ledger import index, log
from tests.integration.conftest import Factory
from tests.integration.faults import (
    CROSSED,
    DEADLINE_S,
    FORK,
    VARIANTS,
    Again,
    Death,
    Phase,
    Plant,
    Promote,
    Reader,
    Register,
    Repair,
    Rescue,
    RollBack,
    deaths,
    is_write,
    recorded_writes,
    shared_plant,
)

pytestmark = pytest.mark.forks
SIZES = pytest.mark.parametrize(
    "variants",
    [
        pytest.param((), id="one name"),
        pytest.param(VARIANTS, id="three names", marks=pytest.mark.long),
    ],
)


@SIZES
@CROSSED
def test_promotions_and_rollbacks_killed_at_any_write_happen_exactly_once(
    factory: Factory, mlflow_server, variants, crossed
):
    promote, roll_back = Promote(), RollBack()
    with (
        shared_plant(factory, mlflow_server, variants) as plant,
        Reader(mlflow_server, plant.names) as reader,
    ):
        counts = plant.writes_of(promote), plant.writes_of(roll_back)
        # The commit, two aliases and two tags at least of each name, the mirror, the mark.
        assert min(counts) >= 3 + 4 * len(plant.names)
        pairs = itertools.zip_longest(*(deaths(count, crossed=crossed) for count in counts))
        for of_promotion, of_rollback in pairs:
            plant.survives(promote, of_promotion)
            plant.survives(roll_back, of_rollback)
    reader.confirm(plant.operations)


def test_a_rotation_killed_again_and_again_happens_exactly_once(factory: Factory, mlflow_server):
    with (
        shared_plant(factory, mlflow_server, VARIANTS) as plant,
        Reader(mlflow_server, plant.names) as reader,
    ):
        for command in (Promote(), RollBack()):
            assert plant.survives_ever_later(command) > 3
    reader.confirm(3)


class BeforeTheFirstAlias:
    """A SIGKILL when the operation is decided, and nothing has moved."""

    def arm(self):
        original = requests.Session.request

        def request(session, method, url, *args, **kwargs):
            if is_write(method, url) and url.endswith("/alias"):
                os.kill(os.getpid(), signal.SIGKILL)
            return original(session, method, url, *args, **kwargs)

        requests.Session.request = request


@pytest.mark.parametrize("command", [Promote(), RollBack()])
def test_killed_before_its_first_alias_moved_it_shows_in_the_listing_and_is_finished(
    factory: Factory, mlflow_server, command
):
    with shared_plant(factory, mlflow_server, ()) as plant:
        command.prepare(plant)
        assert plant.dies(command, uuid.uuid4().hex, BeforeTheFirstAlias())
        # A pass as the watcher submits it: no ledger is read of a release that looks well.
        made = reconcile(plant.registry, files=FileCheck.SIZE, now=datetime.now(UTC) + UNDER_WAY)
        assert plant.base in [operation.name for operation in made.finished]
        plant.has_seen(command)


@SIZES
@CROSSED
def test_a_repair_that_keeps_the_ledger_killed_at_any_write_happens_exactly_once(
    factory: Factory, mlflow_server, variants, crossed
):
    repair = Repair("ledger")
    with (
        shared_plant(factory, mlflow_server, variants) as plant,
        Reader(mlflow_server, plant.names) as reader,
    ):
        for death in deaths(plant.writes_of(repair), crossed=crossed):
            plant.survives(repair, death)
    reader.confirm(len(plant.names))


@CROSSED
def test_a_rescue_killed_at_any_write_happens_exactly_once(
    factory: Factory, mlflow_server, crossed
):
    rescue = Rescue()
    # Without a reader: it begins with a champion that is gone.
    with shared_plant(factory, mlflow_server, VARIANTS) as plant:
        for death in deaths(plant.writes_of(rescue), crossed=crossed):
            plant.survives(rescue, death)


@SIZES
@CROSSED
def test_a_registration_killed_at_any_write_gives_one_version(
    factory: Factory, mlflow_server, variants, crossed
):
    """The model made of a file, its version, @candidate; of three names one after the other."""
    with (
        shared_plant(factory, mlflow_server, variants) as plant,
        Reader(mlflow_server, plant.names) as reader,
    ):
        count = plant.writes_of(Register())
        assert count >= 4 + 3 * len(plant.names)
        for death in deaths(count, crossed=crossed):
            plant.survives(Register(), death)
    reader.confirm(len(plant.names))


@pytest.mark.long
@CROSSED
def test_a_promotion_that_begins_a_run_of_the_ledger_happens_exactly_once(
    factory: Factory, mlflow_server, crossed, monkeypatch
):
    monkeypatch.setattr(log, "SEGMENT_LENGTH", 2)
    plant, promote, roll_back = Plant(factory, mlflow_server).started(), Promote(), RollBack()
    with recorded_writes() as writes:
        plant.registry.promote_to_champion(plant.base)
    plant.has_seen(promote)
    # The run, what it knows of those before, its place in the index, and that it is finished.
    assert len(writes) == 4 + 8
    for death in deaths(len(writes), crossed=crossed):
        plant.survives(roll_back, None)
        plant.survives(promote, death)


@SIZES
@CROSSED
def test_a_repair_that_keeps_mlflow_killed_at_any_write_happens_exactly_once(
    factory: Factory, mlflow_server, variants, crossed
):
    plant, repair = Plant(factory, mlflow_server, variants).started(), Repair("mlflow")
    with Reader(mlflow_server, plant.names) as reader:
        # Once before it is counted: the first acceptance has a @candidate to clear.
        plant.survives(repair, None)
        for death in deaths(plant.writes_of(repair), crossed=crossed):
            plant.survives(repair, death)
    reader.confirm(len(plant.names))


def before_its_first_promotion(factory, server):
    plant = Plant(factory, server)
    plant.versions = 1
    plant.register(plant.registry, None)
    return plant


@CROSSED
def test_a_first_promotion_killed_at_any_write_makes_one_ledger(
    factory: Factory, mlflow_server, crossed
):
    count = before_its_first_promotion(factory, mlflow_server).writes_of(Promote())
    for death in deaths(count, crossed=crossed):
        before_its_first_promotion(factory, mlflow_server).survives(Promote(), death)


@pytest.mark.long
@CROSSED
def test_the_first_promotion_of_a_server_killed_at_its_writes_makes_one_index(
    factory: Factory, mlflow_server, crossed, monkeypatch
):
    """Most of its writes try out the server: in CI two of those, and all of the index."""
    # The server has had a ledger; that this is noticed is the one thing to be switched off here.
    monkeypatch.setattr(index, "_refuse_renamed", lambda client: None)
    monkeypatch.setattr(index, "_refuse_a_second_ledger", lambda client: None)

    def fresh():
        monkeypatch.setattr(index, "LEDGER_EXPERIMENT", f"ledger of {factory.name()}")
        return before_its_first_promotion(factory, mlflow_server)

    count = fresh().writes_of(Promote())
    for death in deaths(count, crossed=crossed):
        if crossed or death.writes < 6 or death.writes % 32 == 0:
            fresh().survives(Promote(), death)


def interrupt(plant, command):
    """Kill a rotation between its commit and its first alias."""
    assert plant.dies(
        command, f"killed-{type(command).__name__}", Death(1, Phase.AFTER, Again.BY_HAND)
    )


def test_a_plan_finishes_what_was_interrupted_and_does_not_do_it_twice(
    factory: Factory, mlflow_server
):
    plant = Plant(factory, mlflow_server, VARIANTS[:1]).started()
    registry, (base, twin) = plant.registry, plant.names
    interrupt(plant, Promote())
    # Without a write: planned on the state as it will be, and nothing moved.
    dry = registry.plan_rollback(base, write=False)
    assert {(m.name, m.after) for m in dry.moves if m.alias == "champion"} == {(base, 2), (twin, 2)}
    assert registry.plan_promotion(base, write=False).moves == ()
    assert {model.aliases["champion"] for model in plant.look().values()} == {2}
    plan = registry.plan_promotion(base)
    assert (plan.moves, plan.version) == ((), 3)
    assert "interrupted" in plan.warnings[0]
    plant.has_seen(Promote())
    interrupt(plant, RollBack())
    plan = registry.plan_rollback(base)
    assert plan.moves == ()
    plant.has_seen(RollBack())
    # Whoever goes on with this plan all the same is refused, not taken back twice.
    with pytest.raises(ChampionChanged):
        registry.rollback(base, expected_champion=plan.champion[base])
    assert len(registry.history(base)) == plant.operations


def test_another_request_is_planned_on_what_was_finished(factory: Factory, mlflow_server):
    plant = Plant(factory, mlflow_server, VARIANTS[:1]).started()
    interrupt(plant, Promote())
    plan = plant.registry.plan_rollback(plant.base)
    assert plan.champion == dict.fromkeys(plant.names, 3)
    assert "finished now" in plan.warnings[0]
    plant.has_seen(Promote())


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
