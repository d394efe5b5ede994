"""The ledger on real servers: how it grows, what it costs, and how every hand in it is found."""

import multiprocessing
import re
import shlex
import sqlite3
from contextlib import contextmanager, nullcontext

import pytest
import requests
from click.testing import CliRunner
from mlflow.cli import cli

from guardianflow.errors import (
    LedgerDamaged,
    NoRollbackTarget,
    RotationConflict,
    VersionQuarantined,
)
from guardianflow.mlflow_store.client import connect
from guardianflow.names import ModelName
from guardianflow.registry.ledger.log import LEDGER_EXPERIMENT, Ledger, known_bases
from guardianflow.registry.ledger.write_once import HOLDS_TAG
from guardianflow.registry.release_state import (
    Attribution,
    OperationKind,
    OperationRecord,
    ProductionEntry,
)
from testbed.servers import mlflow_server_on, postgres_server

SPAWN = multiprocessing.get_context("spawn")
DEADLINE_S = 120


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    with mlflow_server_on(tmp_path_factory.mktemp("ledger")) as server:
        yield server


@pytest.fixture(scope="module")
def mlflow_server(plant):
    """A server of these tests alone: they delete and edit what all releases share."""
    return plant.uri


@pytest.fixture
def short_runs(monkeypatch):
    monkeypatch.setattr("guardianflow.registry.ledger.log.SEGMENT_LENGTH", 2)


def entry(name, number):
    place = ProductionEntry(number, number - 1 or None, number)
    time = "2026-01-01T00:00:00.000+00:00"
    return OperationRecord(
        0,
        OperationKind.PROMOTE,
        name,
        {},
        {name: place},
        Attribution("kim", "better", f"token-{number}"),
        time,
    )


def grown(client, name, operations):
    """A ledger of so many operations, as its writer sees it, and its head."""
    ledger = Ledger(client, ModelName.parse(name))
    head = ledger.read()
    for number in range(head.seq + 1, operations + 1):
        head = ledger.commit(head, entry(name, number))
        ledger.mark_done(number)
    return ledger, head


def runs_of(client, name):
    return known_bases(client)[ModelName.parse(name)]


def reader(client, name):
    """The ledger as another process meets it."""
    return Ledger(client, ModelName.parse(name))


def edit(plant, statement, *values):
    """What only somebody at the database can do."""
    with sqlite3.connect(plant.database.removeprefix("sqlite:///"), timeout=30) as database:
        changed = database.execute(statement, values).rowcount
    database.close()
    assert changed == 1


def mend(error):
    """Run the command that a refusal names."""
    command = shlex.split(re.findall(r"`([^`]+)`", error.remedy)[0])
    assert command[:3] == ["python", "-m", "deployments.tool"]
    program, *words = command[3:]
    if program == "mlflow":
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, result.output
    else:
        assert (program, words[0]) == ("python", "-c")
        exec(words[1], {})


@contextmanager
def counted():
    """The requests that a block makes."""
    calls, original = [], requests.Session.request

    def request(session, method, url, **options):
        calls.append(f"{method} {url}")
        return original(session, method, url, **options)

    requests.Session.request = request
    try:
        yield calls
    finally:
        requests.Session.request = original


def test_the_ledger_goes_on_in_a_new_run_before_the_old_one_is_long(registry, factory, short_runs):
    name = factory.name()
    for _ in range(5):
        factory.base(name)
        registry.promote_to_champion(name)
    assert [o.seq for o in registry.history(name)] == [1, 2, 3, 4, 5]
    assert len(runs_of(registry.client, name)) == 3
    for champion in (4, 3, 2, 1):
        assert dict(registry.rollback(name).after) == {name: champion}
    with pytest.raises(NoRollbackTarget):
        registry.rollback(name)
    with pytest.raises(VersionQuarantined):
        registry.promote_to_champion(name, 3)
    assert reader(registry.client, name).verify().seq == 9


def test_a_token_is_found_again_in_an_older_run(registry, factory, short_runs):
    name = factory.name()
    grown(registry.client, name, 7)
    ledger = reader(registry.client, name)
    head = ledger.read()
    for number in (7, 6, 1):
        assert ledger.find_token(head, f"token-{number}").seq == number
    with counted() as calls:
        assert ledger.find_token(head, "of nobody") is None
    assert calls == []


def test_a_run_that_was_made_and_never_written_is_gone_on_with(registry, factory, short_runs):
    name = factory.name()
    ledger, head = grown(registry.client, name, 2)
    # Killed between the election of the next run and its first operation.
    former = head.former.after(head.digest, head.former, head.records)
    ledger._runs.create_next(ledger._runs.make_ready(anew=False), former)
    late = reader(registry.client, name)
    assert late.read().seq == late.verify().seq == 2
    late.commit(late.read(), entry(name, 3))
    assert [r.seq for r in late.past(late.read())] == [3, 2, 1]


def test_of_two_writers_from_one_head_one_is_refused(registry, factory):
    name = factory.name()
    one, other = (reader(registry.client, name) for _ in range(2))
    heads = one.read(), other.read()
    one.commit(heads[0], entry(name, 1))
    with pytest.raises(RotationConflict):
        other.commit(heads[1], entry(name, 2))
    assert reader(registry.client, name).read().records[0].by.token == "token-1"


def test_an_operation_costs_the_same_however_long_the_ledger_is(registry, factory, monkeypatch):
    monkeypatch.setattr("guardianflow.registry.ledger.log.SEGMENT_LENGTH", 5)
    name, costs = factory.name(), []
    for operations in (2, 8, 23):
        grown(registry.client, name, operations)
        with counted() as calls:
            ledger = reader(registry.client, name)
            head = ledger.read()
            assert ledger.find_token(head, "new") is None
            ledger.read()
            ledger.commit(head, entry(name, head.seq + 1))
            ledger.read()
            ledger.mark_done(head.seq + 1)
        costs.append(len(calls))
    # experiment, index, head; head; entry and its reading back; head; done
    assert costs == [8, 8, 8]


@pytest.mark.parametrize("what", ["deleted", "renamed", "renamed and deleted", "untagged"])
def test_a_hand_on_the_experiment_is_found_with_the_command_that_mends_it(
    plant, registry, factory, what
):
    client, name, new = registry.client, factory.name(), factory.name()
    factory.base(name)
    registry.promote_to_champion(name)
    factory.base(new)
    where = client.get_experiment_by_name(LEDGER_EXPERIMENT).experiment_id
    if "renamed" in what:
        client.rename_experiment(where, "tidied up")
    if "deleted" in what:
        client.delete_experiment(where)
    if what == "untagged":
        client.delete_experiment_tag(where, "guardianflow.index_run")
    for act in (registry.history, registry.rollback, registry.drift):
        with pytest.raises(LedgerDamaged, match=rf"\({where}\) (was|lost)"):
            act(name)
    with pytest.raises(LedgerDamaged) as found:
        # Never a second ledger, not even for a model that the first one does not know.
        registry.promote_to_champion(new)
    assert found.value.data["experiment_id"] == where
    mend(found.value)
    if what == "renamed and deleted":
        with pytest.raises(LedgerDamaged) as found:
            registry.drift(name)
        mend(found.value)
    assert registry.drift(name) == ()
    assert registry.promote_to_champion(new).seq == 1
    assert reader(client, name).verify().seq == 1


@pytest.mark.parametrize("which", ["ledger", "index"])
def test_a_deleted_run_is_found_with_the_command_that_restores_it(registry, factory, which):
    client, name = registry.client, factory.name()
    factory.base(name)
    registry.promote_to_champion(name)
    run_id = runs_of(client, name)[0]
    if which == "index":
        tags = client.get_experiment_by_name(LEDGER_EXPERIMENT).tags
        run_id = tags["guardianflow.index_run"]
    client.delete_run(run_id)
    with pytest.raises(LedgerDamaged, match=f"{run_id}.*deleted") as found:
        registry.promote_to_champion(name)
    mend(found.value)
    assert registry.history(name)[-1].seq == 1


def test_a_renamed_run_and_a_moved_tag_do_no_harm_or_are_found(registry, factory):
    client, name = registry.client, factory.name()
    factory.base(name)
    registry.promote_to_champion(name)
    (run_id,) = runs_of(client, name)
    client.update_run(run_id, name="tidied up")
    assert reader(client, name).verify().seq == 1
    where = client.get_experiment_by_name(LEDGER_EXPERIMENT)
    index = where.tags["guardianflow.index_run"]
    for other in (factory.run(), "0" * 32):
        client.set_experiment_tag(where.experiment_id, "guardianflow.index_run", other)
        with pytest.raises(LedgerDamaged):
            registry.drift(name)
    client.set_experiment_tag(where.experiment_id, "guardianflow.index_run", run_id)
    with pytest.raises(LedgerDamaged, match="operation 1"):
        # A run that is no index knows nobody: the mirror on the model says that there was more.
        registry.drift(name)
    client.set_experiment_tag(where.experiment_id, "guardianflow.index_run", index)
    assert registry.drift(name) == ()


OLDER = "UPDATE params SET value = replace(value, 'better', 'worse') WHERE run_uuid = ? AND key = ?"
GONE = "DELETE FROM params WHERE run_uuid = ? AND key = ?"


@pytest.mark.parametrize(
    ("statement", "segment", "key", "seen", "at_once"),
    [
        (OLDER, -1, "op.000005", "operation 5 was changed", True),
        (OLDER, 0, "op.000001", "operation 1 was changed", False),
        (OLDER, 0, "op.000003", "operation 3 was changed", False),
        (GONE, -1, "op.000005", "operation [56] is missing", True),
        (GONE, -1, "op.000006", "operation 6 was done and is missing", True),
        (GONE, 0, "op.000002", "operation 2 is missing", False),
        (GONE, 0, "op.000003", "operation 3 (was done and )?is missing", False),
        (
            "UPDATE params SET value = 'x' WHERE run_uuid = ? AND key = ?",
            -1,
            "op.000006",
            "operation 6 cannot be read",
            True,
        ),
    ],
)
def test_what_was_changed_in_the_database_is_found(
    plant, registry, factory, monkeypatch, statement, segment, key, seen, at_once
):
    monkeypatch.setattr("guardianflow.registry.ledger.log.SEGMENT_LENGTH", 3)
    name = factory.name()
    grown(registry.client, name, 6)
    run_id = runs_of(registry.client, name)[segment]
    edit(plant, statement, run_id, key)
    ledger = reader(registry.client, name)
    with pytest.raises(LedgerDamaged, match=seen) as found:
        (ledger.read if at_once else ledger.verify)()
    assert found.value.data["run_id"] == run_id
    assert "back-up" in found.value.remedy
    if not at_once:
        with pytest.raises(LedgerDamaged, match=seen):
            registry.history(name)


def test_a_ledger_that_lost_its_last_run_is_found(plant, registry, factory, short_runs):
    client, name = registry.client, factory.name()
    for _ in range(3):
        factory.base(name)
        registry.promote_to_champion(name)
    index = client.get_experiment_by_name(LEDGER_EXPERIMENT).tags["guardianflow.index_run"]
    key = f"{ModelName.parse(name).registered}/"
    lost = runs_of(client, name)[1]
    edit(plant, GONE, index, f"{key}1")
    with pytest.raises(LedgerDamaged, match="does not name it any more") as found:
        reader(client, name).verify()
    assert found.value.data["run_id"] == lost
    with pytest.raises(LedgerDamaged, match="operation 3"):
        # Reading alone cannot see it; the mirror on the model does.
        registry.promote_to_champion(name)
    client.log_param(index, f"{key}1", lost)
    edit(plant, GONE, index, f"{key}0")
    with pytest.raises(LedgerDamaged, match="lost run 0"):
        registry.history(name)


@pytest.mark.parametrize("hand", ["the newest entry changed", "the tail cut"])
def test_the_mirror_on_the_model_shows_what_the_chain_cannot(plant, registry, factory, hand):
    client, name = registry.client, factory.name()
    for _ in range(2):
        factory.base(name)
        registry.promote_to_champion(name, reason="better")
    (run_id,) = runs_of(client, name)
    if hand == "the tail cut":
        edit(plant, GONE, run_id, "op.000002")
        edit(plant, GONE, run_id, "done.000002")
    else:
        edit(plant, OLDER, run_id, "op.000002")
    assert reader(client, name).verify().seq == (1 if hand == "the tail cut" else 2)
    for act in (registry.drift, registry.rollback, registry.promote_to_champion):
        with pytest.raises(LedgerDamaged, match=r"operation 2|differ"):
            act(name)


def test_a_purged_ledger_is_not_begun_anew_silently(plant, registry, factory):
    client, name, new = registry.client, factory.name(), factory.name()
    factory.base(name)
    registry.promote_to_champion(name)
    factory.base(new)
    where = client.get_experiment_by_name(LEDGER_EXPERIMENT).experiment_id
    client.delete_experiment(where)
    purged = CliRunner().invoke(
        cli, ["gc", "--backend-store-uri", plant.database, "--experiment-ids", where]
    )
    assert purged.exit_code == 0, purged.output
    assert client.get_experiment_by_name(LEDGER_EXPERIMENT) is None
    assert known_bases(client) == {}
    with pytest.raises(LedgerDamaged, match="operation 1"):
        registry.rollback(name)
    with pytest.raises(LedgerDamaged, match="gone for good"):
        registry.promote_to_champion(new)
    assert client.get_experiment_by_name(LEDGER_EXPERIMENT) is None
    registry.repair(name, "mlflow", reason="the ledger is lost, there is no back-up")
    assert [o.kind for o in registry.history(name)] == ["adopt"]
    assert registry.promote_to_champion(new).seq == 1


def commit_first(uri, number, start, answers):
    """What one of two processes does on a server that has no ledger yet."""
    client = connect(uri)
    name = f"test/plant-{number}/welding/ppe"
    ledger = Ledger(client, ModelName.parse(name))
    start.wait(DEADLINE_S)
    ledger.commit(ledger.read(), entry(name, 1))
    answers.put(name)


@pytest.mark.parametrize("backend", ["SQLite", pytest.param("Postgres", marks=pytest.mark.long)])
def test_two_processes_at_once_make_one_ledger(backend, tmp_path, request):
    with (
        postgres_server() if backend == "Postgres" else nullcontext() as database,
        mlflow_server_on(tmp_path, database) as server,
    ):
        request.node.add_marker("mlflow_server")
        start, answers = SPAWN.Barrier(2), SPAWN.Queue()
        children = [
            SPAWN.Process(target=commit_first, args=(server.uri, number, start, answers))
            for number in range(2)
        ]
        for child in children:
            child.start()
        names = {answers.get(timeout=DEADLINE_S) for _ in children}
        for child in children:
            child.join(DEADLINE_S)
        client = connect(server.uri)
        assert {base.public for base in known_bases(client)} == names
        assert [reader(client, name).verify().seq for name in sorted(names)] == [1, 1]
        assert [e.name for e in client.search_experiments() if "ledger" in e.name] == [
            LEDGER_EXPERIMENT
        ]
        # Both tried out whether params stay as first written; it is not done a third time.
        tags = client.get_experiment_by_name(LEDGER_EXPERIMENT).tags
        assert any(key.startswith(HOLDS_TAG) for key in tags)
        with counted() as calls:
            grown(client, "test/plant-2/welding/ppe", 1)
        assert len(calls) < 12
