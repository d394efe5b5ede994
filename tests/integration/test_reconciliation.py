"""A pass over all releases: what is ours is finished, the rest is reported, and it is cheap."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import requests

from guardianflow.mlflow_store import registered_models
from guardianflow.monitoring import doctor, reconciliation
from guardianflow.monitoring.alarms import AlarmBook, find_change
from guardianflow.monitoring.findings import FileCheck, Finding, FindingCode, Severity
from guardianflow.monitoring.reconciliation import PASS_EVERY, in_turn, reconcile
from guardianflow.names import ModelName
from guardianflow.registry.ledger.entry import digest_of
from guardianflow.registry.ledger.index import (
    INDEX_TAG,
    LEDGER_EXPERIMENT,
    find_index,
    known_bases,
)
from testbed.runs import make_run
from testbed.servers import mlflow_server_on
from tests.integration.releases import FILES, Releases, registered


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def mlflow_server(folder):
    """A server of this module's own: each pass is over all of its releases."""
    with mlflow_server_on(folder) as server:
        yield server.uri


@pytest.fixture
def releases(mlflow_server, folder, tmp_path, monkeypatch):
    """Those of one test: a pass over what others left would cost more than the test."""
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    made = Releases(mlflow_server, folder)
    yield made
    forget(made.client)


def forget(client):
    """Delete all models, and put their ledger where nobody takes it for one."""
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    ledger = client.get_experiment_by_name(LEDGER_EXPERIMENT)
    client.delete_experiment_tag(ledger.experiment_id, INDEX_TAG)
    client.rename_experiment(ledger.experiment_id, f"ledger of a test {uuid.uuid4()}")


@pytest.fixture
def registry(releases):
    return releases.registry


@pytest.fixture
def client(releases):
    return releases.client


@pytest.fixture
def single(releases):
    return releases.release()


@pytest.fixture
def calls(monkeypatch):
    """Counts what is asked of the server."""
    made = []
    send = requests.Session.request

    def count(session, method, url, **options):
        made.append(f"{method} {url.partition('/api/')[2]}")
        return send(session, method, url, **options)

    monkeypatch.setattr(requests.Session, "request", count)
    return made


def at(turn):
    """A time at which it is turn number `turn`."""
    return datetime.fromtimestamp(turn * PASS_EVERY.total_seconds(), UTC)


def test_an_interrupted_operation_is_finished(registry, releases, single):
    version = releases.interrupt(single)
    result = reconcile(registry)
    assert [operation.name for operation in result.finished] == [single]
    assert registry.get_champion(single).version == version
    assert not result.alarms_of(single)
    assert not reconcile(registry).changed


def test_an_operation_that_somebody_carries_out_now_is_left_alone(registry, releases, single):
    version = releases.interrupt(single, age=timedelta(seconds=30))
    result = reconcile(registry)
    assert not result.changed
    assert not result.alarms_of(single)
    assert registry.get_champion(single).version != version
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert reconcile(registry, now=later).finished


def test_a_first_operation_that_was_interrupted_is_finished(registry, releases):
    name = releases.name()
    releases.interrupt(name)
    assert [operation.name for operation in reconcile(registry).finished] == [name]
    assert registry.get_champion(name).version == 1


def test_a_missing_champion_is_put_back(registry, client, single):
    client.delete_registered_model_alias(registered(single), "champion")
    result = reconcile(registry)
    assert [operation.kind for operation in result.rescued] == ["repair"]
    assert registry.get_champion(single).version == 2
    assert registry.history(single)[-1].actor == "reconcile"
    assert not reconcile(registry).changed


def test_a_quarantined_version_is_taken_out_of_production(registry, client, single):
    registry.rollback(single, reason="misses at night")
    client.set_registered_model_alias(registered(single), "champion", "2")
    result = reconcile(registry)
    assert [operation.kind for operation in result.rescued] == ["repair"]
    assert registry.get_champion(single).version == 1
    assert not result.alarms_of(single)


def test_a_deleted_champion_takes_the_release_back(registry, client, single):
    client.delete_model_version(registered(single), "2")
    result = reconcile(registry)
    assert [operation.kind for operation in result.rescued] == ["rollback"]
    assert registry.get_champion(single).version == 1
    assert not result.alarms_of(single)


def test_tags_are_written_again(registry, client, single):
    client.set_model_version_tag(registered(single), "2", "guardianflow.status", "former")
    client.delete_registered_model_tag(registered(single), "guardianflow.head")
    result = reconcile(registry)
    assert len(result.mended) == 2
    assert registry.get_version(single, 2).status == "champion"
    assert not reconcile(registry).changed


def test_the_tags_of_an_operation_that_comes_between_are_not_undone(
    registry, releases, single, monkeypatch
):
    releases.version(single)
    others = [lambda: registry.promote_to_champion(single)]

    def read_versions(client, name):
        # Ledger and aliases are read already.
        while others:
            others.pop()()
        return registered_models.read_versions(client, name)

    monkeypatch.setattr(doctor, "read_versions", read_versions)
    result = reconcile(registry, ModelName.parse(single))
    assert not result.mended
    assert not result.alarms
    assert [registry.get_version(single, n).status for n in (2, 3)] == ["former", "champion"]


@pytest.mark.parametrize("act", ["promote", "reject"])
def test_a_status_that_changes_while_tags_are_mended_is_left_alone(
    registry, client, releases, single, monkeypatch, act
):
    def set_status(status):
        client.set_model_version_tag(registered(single), "2", "guardianflow.status", status)

    if act == "promote":
        releases.version(single)
        others, status = [lambda: registry.promote_to_champion(single)], "former"
    else:
        registry.rollback(single, reason="misses at night")
        others, status = [lambda: set_status("rejected")], "rejected"
    set_status("")

    def wrong_tags(chart):
        found = doctor.wrong_tags(chart)
        assert [wrong[:2] for wrong in found] == [(single, 2)]
        while others:
            others.pop()()
        return found

    monkeypatch.setattr(reconciliation, "wrong_tags", wrong_tags)
    assert not reconcile(registry, ModelName.parse(single)).mended
    assert registry.get_version(single, 2).status == status


def test_an_alias_moved_by_hand_is_reported_and_left_alone(registry, client, single):
    client.set_registered_model_alias(registered(single), "champion", "1")
    result = reconcile(registry)
    assert [(f.model, f.code) for f in result.alarms_of(single)] == [(single, "champion-moved")]
    assert registry.get_champion(single).version == 1
    assert len(registry.history(single)) == 2
    registry.repair(single, "ledger", reason="a slip")
    assert not reconcile(registry).alarms_of(single)


def test_a_broken_release_keeps_no_other_from_being_looked_at(registry, client, releases):
    broken, moved, killed = (releases.release() for _ in range(3))
    runs = known_bases(client)[ModelName.parse(broken)]
    client.delete_run(runs[0])
    client.delete_registered_model_tag(registered(broken), "guardianflow.head")
    client.set_registered_model_alias(registered(moved), "rollback", "2")
    releases.interrupt(killed)
    result = reconcile(registry)
    codes = {base: [f.code for f in result.alarms_of(base)] for base in (broken, moved, killed)}
    assert codes == {broken: ["ledger-damaged"], moved: ["rollback-moved"], killed: []}
    assert [operation.name for operation in result.finished] == [killed]
    client.restore_run(runs[0])
    registry.repair(moved, "ledger", reason="a slip")
    after = reconcile(registry)
    assert not any(after.alarms_of(base) for base in (broken, moved, killed))


@pytest.mark.parametrize(
    "change",
    [
        {"time": "yesterday"},
        {"time": "2026-11-23T10:00:00.000"},
        {"previous": None},
        {"seq": None},
        {"name": "Not A Variant"},
        {"after": {"": ["2", 1, 2, None]}},
    ],
)
def test_a_planted_entry_stops_the_pass_for_no_other_release(registry, client, releases, change):
    planted, killed = releases.release(), releases.release()
    version = releases.interrupt(killed)
    (run,) = known_bases(client)[ModelName.parse(planted)]
    newest = client.get_run(run).data.params["op.000002"]
    content = {**json.loads(newest), "seq": 3, "previous": digest_of(newest), **change}
    entry = json.dumps({key: value for key, value in content.items() if value is not None})
    client.log_param(run, "op.000003", entry)
    result = reconcile(registry)
    assert [f.code for f in result.alarms_of(planted)] == ["ledger-damaged"]
    assert [operation.name for operation in result.finished] == [killed]
    assert registry.get_champion(killed).version == version
    findings = doctor.examine_releases(registry, doctor.find_releases(registry))
    assert "ledger-damaged" in [f.code for f in findings if f.model == planted]


def test_what_is_no_entry_says_nothing(registry, client, single):
    (run,) = known_bases(client)[ModelName.parse(single)]
    for key in ("op.last", "op.7", "done.3", "done.", "op.-00001"):
        client.log_param(run, key, "x")
    base = registered(single)
    for key in ("a note", f"{base}/x", f"{base}/00", single, f"{single}/0", f"{base}__a_b/0"):
        client.log_param(find_index(client).run_id, key, "x")
    result = reconcile(registry)
    assert single in result.releases
    assert not result.alarms_of(single)
    assert not result.changed


def test_a_release_without_any_model_is_reported(registry, client, single):
    client.delete_registered_model(registered(single))
    alarms = reconcile(registry).alarms_of(single)
    assert [(f.model, f.code) for f in alarms] == [(single, "model-deleted")]


def test_every_file_has_its_turn(registry, client, releases):
    releases.version(releases.name())
    own = releases.name()
    releases.version(own, run_id=make_run(client, FILES))
    registry.promote_to_champion(own)
    file = releases.file(own, 1, "artifacts/ir/model.bin")
    content = file.read_bytes()
    file.write_bytes(content[::-1])
    bases = sorted(reconcile(registry, now=at(1)).releases)
    mine, other = bases.index(own), (bases.index(own) + 1) % len(bases)
    assert not reconcile(registry, now=at(other)).alarms_of(own)
    # One that something else was the reason for reads what looks wrong and nothing else.
    assert own not in reconcile(registry, files=FileCheck.SHA256, now=at(mine)).examined
    (finding,) = reconcile(registry, now=at(mine)).alarms_of(own)
    assert finding.code == "file-changed"
    file.write_bytes(content)


def test_taking_turns_leaves_nobody_out():
    for many in (1, 3, 7, 50, 51):
        seen = [item for turn in range(many) for item in in_turn(range(many), 3, turn)]
        assert set(seen) == set(range(many))


def test_a_pass_costs_the_same_however_many_versions_and_models_there_are(
    registry, client, releases, single, calls, monkeypatch
):
    # Those in turn are a fixed number; which ones they are would blur the count.
    monkeypatch.setattr("guardianflow.monitoring.reconciliation.SIZES_IN_TURN", 0)
    monkeypatch.setattr("guardianflow.monitoring.reconciliation.ENDS_IN_TURN", 0)
    run_id = releases.run_id
    releases.release()  # the second of the two, whichever it is, has its turn before and after

    def cost():
        calls.clear()
        reconcile(registry, now=at(1), suspects=[single])
        return sorted(calls)

    cost()  # what is looked up only once
    before = cost()
    for number in range(30):
        client.create_registered_model(f"zz.plant-{number}.welding.ppe")
        source = f"runs:/{run_id}/model"
        client.create_model_version(registered(single), source, run_id, await_creation_for=0)
    assert cost() == before
    print(f"{len(before)} calls, one release read in full")


def test_an_alarm_is_told_once_and_once_more_when_it_is_over(registry, client, single):
    book = AlarmBook(registry.client)
    client.set_registered_model_alias(registered(single), "champion", "1")
    alarms = reconcile(registry).alarms_of(single)
    change = find_change(single, book.read().get(single, {}), alarms, FileCheck.SIZE)
    assert [f.code for f in change.new] == ["champion-moved"]
    assert not change.over
    book.write(change)
    assert find_change(single, book.read()[single], alarms, FileCheck.SIZE) is None
    registry.repair(single, "ledger", reason="a slip")
    alarms = reconcile(registry, suspects=book.read()).alarms_of(single)
    over = find_change(single, book.read()[single], alarms, FileCheck.SIZE)
    assert over.over
    assert not over.new
    book.write(over)
    book.write(over)
    assert single not in book.read()


def test_what_is_wrong_with_the_server_is_told_once_and_settles_nothing(registry, client, releases):
    moved, fine = releases.release(), releases.release()
    client.set_registered_model_alias(registered(moved), "champion", "1")
    book = AlarmBook(registry.client)
    reported = find_change(moved, {}, reconcile(registry).alarms_of(moved), FileCheck.SIZE)
    book.write(reported)
    where = client.get_experiment_by_name("guardianflow.ledger").experiment_id
    client.rename_experiment(where, "old stuff")
    result = reconcile(registry, suspects=book.read())
    assert [(f.model, f.code) for f in result.alarms] == [("", "ledger-damaged")]
    assert not {moved, fine} & result.examined.keys()
    change = find_change("", {}, result.alarms_of(""), result.examined[""])
    book.write(change)
    assert book.read() | {"": change.memory, moved: reported.memory} == book.read()
    client.rename_experiment(where, "guardianflow.ledger")
    result = reconcile(registry, suspects=book.read())
    over = find_change("", book.read()[""], result.alarms_of(""), result.examined[""])
    assert over.over
    book.write(over)
    assert "" not in book.read()
    assert [f.code for f in result.alarms_of(moved)] == ["champion-moved"]
    registry.repair(moved, "ledger", reason="the test is over")


def test_a_lost_index_is_told_once(registry, client, releases):
    both = {releases.release(), releases.release()}
    run = find_index(client).run_id
    client.delete_run(run)
    (alarm,) = reconcile(registry).alarms
    assert (alarm.model, alarm.code) == ("", "ledger-damaged")
    client.restore_run(run)
    assert both <= reconcile(registry).releases


def test_what_only_a_closer_look_shows_is_not_over_for_a_passing_one():
    finding = Finding(
        "a/b-c/d/e", FindingCode.FILE_CHANGED, Severity.ERROR, "differs", "x", FileCheck.SHA256
    )
    reported = find_change("a/b-c/d/e", {}, [finding], FileCheck.SHA256).memory
    assert find_change("a/b-c/d/e", reported, [], FileCheck.SIZE) is None
    assert find_change("a/b-c/d/e", reported, [], FileCheck.SHA256).over


def test_a_deleted_memory_is_brought_back(registry, client, single):
    book = AlarmBook(registry.client)
    finding = Finding(single, FindingCode.CHAMPION_MOVED, Severity.ERROR, "moved", "x")
    change = find_change(single, {}, [finding], FileCheck.SIZE)
    book.write(change)
    client.delete_experiment(client.get_experiment_by_name("guardianflow.alarms").experiment_id)
    book.write(change)
    assert book.read()[single] == change.memory
