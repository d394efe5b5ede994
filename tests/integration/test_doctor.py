"""What is done by hand in MLflow is found, and the command that doctor names mends it."""

import json
import os
import sqlite3
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from guardianflow.cli import main
from guardianflow.errors import ModelUnknown
from guardianflow.monitoring import doctor
from guardianflow.monitoring.findings import FileCheck, Severity
from guardianflow.names import ModelName
from guardianflow.registry.ledger.index import known_bases
from testbed.runs import make_run
from testbed.servers import mlflow_server_on
from tests import remedies
from tests.integration.releases import FILES, Releases, registered


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of this module's own: its database and its files are damaged here."""
    with mlflow_server_on(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="module")
def mlflow_server(server):
    return server.uri


@pytest.fixture(scope="module")
def releases(mlflow_server, server):
    return Releases(mlflow_server, server.folder)


@pytest.fixture
def registry(mlflow_server, releases, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    return releases.registry


@pytest.fixture
def client(releases):
    return releases.client


@pytest.fixture
def single(registry, releases):
    """A base alone, with a way back."""
    return releases.release()


@pytest.fixture
def twins(registry, releases):
    """A base and its variant, with a way back."""
    return releases.release(variant=True)


def examine(registry, name=None, files=FileCheck.SIZE):
    """What the command finds on the MLflow server about a release, or about all of them."""
    releases = doctor.find_releases(registry, ModelName.parse(name) if name else None)
    return doctor.examine_releases(registry, releases, files=files)


def found(registry, name, files=FileCheck.SIZE):
    return [finding.code for finding in examine(registry, name, files=files)]


def command_line(*words):
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def carry_out(finding, command=0):
    """Run the remedy as it is printed."""
    program, *words = remedies.commands_of(finding)[command]
    if program == "guardianflow":
        assert command_line(*words) == 0
        return
    mlflow = os.environ["MLFLOW_TRACKING_URI"]
    with tempfile.TemporaryDirectory() as folder:
        remedies.carry_out(finding, Path(folder), command, mlflow=mlflow)


@pytest.mark.parametrize(("alias", "command"), [("champion", 0), ("champion", 1), ("rollback", 0)])
def test_an_alias_moved_by_hand_is_found_and_mended(registry, client, single, alias, command):
    client.set_registered_model_alias(
        registered(single), alias, "1" if alias == "champion" else "2"
    )
    finding = next(f for f in examine(registry, single) if f.severity is Severity.ERROR)
    assert finding.code == f"{alias}-moved"
    assert finding.model == single
    carry_out(finding, command)
    assert not [f for f in examine(registry, single) if f.severity is Severity.ERROR]
    champion = registry.get_champion(single).version
    assert champion == (1 if command == 1 else 2)


@pytest.mark.parametrize("alias", ["champion", "rollback"])
def test_an_alias_deleted_by_hand_is_found_and_mended(registry, client, twins, alias):
    int8 = f"{twins}__openvino_int8"
    client.delete_registered_model_alias(registered(int8), alias)
    (finding,) = examine(registry, int8)
    assert (finding.code, finding.model) == (f"{alias}-missing", int8)
    carry_out(finding)
    assert examine(registry, twins) == []


def test_a_champion_that_the_ledger_never_heard_of_is_adopted(registry, client, releases):
    name = releases.name()
    releases.version(name)
    assert examine(registry, name) == []
    client.set_registered_model_alias(registered(name), "champion", "1")
    (finding,) = examine(registry, name)
    assert finding.code == "not-in-ledger"
    carry_out(finding)
    assert found(registry, name) == ["no-way-back"]


@pytest.mark.parametrize("command", [0, 1])
def test_a_way_back_that_the_ledger_never_heard_of_is_taken_away_or_adopted(
    registry, client, releases, command
):
    name = releases.name()
    for _ in range(2):
        releases.version(name)
    registry.promote_to_champion(name, 2)
    client.set_registered_model_alias(registered(name), "rollback", "1")
    finding = examine(registry, name)[0]
    assert (finding.code, finding.model) == ("rollback-moved", name)
    carry_out(finding, command)
    assert found(registry, name) == (["no-way-back"] if command == 0 else [])


def test_a_deleted_champion_is_found_and_a_rollback_mends_it(registry, client, single):
    client.delete_model_version(registered(single), "2")
    findings = examine(registry, single)
    assert [f.code for f in findings] == ["version-deleted"]
    carry_out(findings[0])
    assert registry.get_champion(single).version == 1
    assert not [f for f in examine(registry, single) if f.severity is Severity.ERROR]


def test_a_deleted_champion_without_a_way_back_names_what_is_left(registry, client, releases):
    name = releases.name()
    releases.version(name)
    releases.version(name)
    registry.promote_to_champion(name, 2)
    client.delete_model_version(registered(name), "2")
    finding = examine(registry, name)[0]
    assert finding.code == "version-deleted"
    assert "set @champion in MLflow" in finding.remedy
    client.set_registered_model_alias(registered(name), "champion", "1")
    carry_out(finding, 1)
    assert found(registry, name) == ["no-way-back"]


def test_a_deleted_way_back_is_found_and_accepted(registry, client, single):
    client.delete_model_version(registered(single), "1")
    (finding,) = examine(registry, single)
    assert finding.code == "version-deleted"
    assert "way back" in finding.message
    carry_out(finding)
    assert found(registry, single) == ["no-way-back"]


def test_a_renamed_model_is_found_and_renamed_back(registry, client, twins):
    int8 = f"{twins}__openvino_int8"
    client.rename_registered_model(registered(int8), "somebody's copy")
    (finding,) = examine(registry, twins)
    assert (finding.code, finding.model) == ("model-renamed", int8)
    carry_out(finding)
    assert examine(registry, twins) == []


def test_a_renamed_base_is_found_too(registry, client, twins):
    client.rename_registered_model(registered(twins), "renamed")
    (finding,) = examine(registry, twins)
    assert (finding.code, finding.model) == ("model-renamed", twins)
    carry_out(finding)
    assert examine(registry, twins) == []


def test_a_deleted_model_is_found_and_registered_again(registry, client, releases, twins):
    int8 = f"{twins}__openvino_int8"
    client.delete_registered_model(registered(int8))
    (finding,) = examine(registry, twins)
    assert (finding.code, finding.model) == ("model-deleted", int8)
    # MLflow leaves out of a listing what the account may not read.
    assert "or this account may not read it" in finding.message
    again = releases.version(int8, 2)
    client.set_registered_model_alias(registered(int8), "champion", str(again))
    carry_out(finding, 1)
    assert found(registry, twins) == ["no-way-back"]


def test_a_release_whose_models_are_all_gone_is_still_known(registry, client, twins):
    for name in (twins, f"{twins}__openvino_int8"):
        client.delete_registered_model(registered(name))
    assert found(registry, twins) == ["model-deleted", "model-deleted"]
    with pytest.raises(ModelUnknown):
        examine(registry, "nobody/knows-this/welding/ppe")


def test_a_deleted_run_of_the_ledger_is_found_and_restored(registry, client, single):
    run = next(iter(known_bases(client)[ModelName.parse(single)]))
    client.delete_run(run)
    (finding,) = examine(registry, single)
    assert (finding.code, finding.model) == ("ledger-damaged", single)
    carry_out(finding)
    assert examine(registry, single) == []


@pytest.mark.parametrize("seq", [1, 2])
def test_an_edited_entry_of_the_ledger_is_found(registry, client, server, single, seq):
    run = next(iter(known_bases(client)[ModelName.parse(single)]))
    change = "UPDATE params SET value = replace(value, ?, ?) WHERE run_uuid = ? AND key = ?"
    with sqlite3.connect(server.folder / "mlflow.db") as database:
        done = database.execute(change, ('"kim"', '"lee"', run, f"op.{seq:06d}"))
        assert done.rowcount == 1
    (finding,) = examine(registry, single)
    assert finding.code == "ledger-damaged"
    assert "back-up" in finding.remedy
    with sqlite3.connect(server.folder / "mlflow.db") as database:
        database.execute(change, ('"lee"', '"kim"', run, f"op.{seq:06d}"))
    assert examine(registry, single) == []


def test_a_renamed_ledger_is_said_once_and_renamed_back(registry, client, single):
    where = client.get_experiment_by_name("guardianflow.ledger").experiment_id
    client.rename_experiment(where, "old stuff")
    findings = examine(registry)
    assert [(f.code, f.model) for f in findings if f.code == "ledger-damaged"] == [
        ("ledger-damaged", "")
    ]
    carry_out(findings[0])
    assert examine(registry, single) == []


@pytest.mark.parametrize("damage", ["deleted", "untagged"])
def test_a_deleted_or_untagged_ledger_is_found_and_mended(registry, client, single, damage):
    where = client.get_experiment_by_name("guardianflow.ledger").experiment_id
    if damage == "deleted":
        client.delete_experiment(where)
    else:
        client.delete_experiment_tag(where, "guardianflow.index_run")
    carry_out(next(f for f in examine(registry) if f.code == "ledger-damaged"))
    assert examine(registry, single) == []


def test_an_interrupted_operation_is_found_and_finished(registry, releases, single):
    version = releases.interrupt(single)
    (finding,) = examine(registry, single)
    assert (finding.code, finding.severity) == ("operation-interrupted", Severity.ERROR)
    assert "Operation 3 (promote" in finding.message
    carry_out(finding, 1)
    assert examine(registry, single) == []
    assert registry.get_champion(single).version == version


def test_an_operation_under_way_is_no_error(registry, releases, single):
    releases.interrupt(single, age=timedelta(seconds=40))
    (finding,) = examine(registry, single)
    assert (finding.code, finding.severity) == ("operation-interrupted", Severity.NOTE)
    assert command_line("doctor", single) == 0


def test_a_lost_or_changed_file_is_found(registry, client, releases):
    name = releases.name()
    for alias in ("rollback", "champion", "candidate"):
        releases.version(name, run_id=make_run(client, FILES))
        if alias != "candidate":
            registry.promote_to_champion(name)
    files = [releases.file(name, version, "artifacts/ir/model.bin") for version in (1, 2, 3)]
    content = files[0].read_bytes()
    for file in files:
        file.write_bytes(content[::-1])
    assert found(registry, name) == []
    findings = examine(registry, name, files=FileCheck.SHA256)
    assert {f.code for f in findings} == {"file-changed"}
    assert [(f.severity, f.message.partition("(")[2]) for f in findings] == [
        (Severity.ERROR, "@champion is version 2)."),
        (Severity.ERROR, "@rollback is version 1)."),
        (Severity.WARNING, "@candidate is version 3)."),
    ]
    files[0].write_bytes(content)
    files[1].write_bytes(content + b"!")
    files[2].unlink()
    assert found(registry, name) == ["file-missing", "file-missing"]
    assert found(registry, name, FileCheck.NONE) == []
    # What the remedy says first: the files are brought back.
    for file in files:
        file.write_bytes(content)
    assert found(registry, name, FileCheck.SHA256) == []


def test_edited_tags_are_found_and_written_again(registry, client, single):
    registry.rollback(single, reason="misses at night")
    client.set_model_version_tag(registered(single), "1", "guardianflow.status", "former")
    client.delete_model_version_tag(registered(single), "2", "guardianflow.status")
    findings = [f for f in examine(registry, single) if f.code == "tag-wrong"]
    assert len(findings) == 2
    carry_out(findings[0])
    assert "tag-wrong" not in found(registry, single)
    assert registry.get_version(single, 2).status == "rolled_back"


def test_an_edited_mirror_is_found_and_written_again(registry, client, single):
    kept = json.loads(registry.release(single).inspect().models[single].tags["guardianflow.head"])
    no_way_back = json.dumps({**kept, "state": {"": [kept["state"][""][0], None]}})
    for value in (None, "7", '{"seq":1,"digest":"","state":{"":[1,null]}}', no_way_back):
        if value is None:
            client.delete_registered_model_tag(registered(single), "guardianflow.head")
        else:
            client.set_registered_model_tag(registered(single), "guardianflow.head", value)
        (finding,) = examine(registry, single)
        assert finding.code == "mirror-wrong"
    carry_out(finding)
    assert examine(registry, single) == []


def test_what_a_person_should_know_is_said(registry, releases, twins):
    releases.version(twins)
    registry.promote_to_champion(twins)
    (older,) = examine(registry, twins)
    assert (older.code, older.model) == ("floor-runs-older", f"{twins}__openvino_int8")
    registry.rollback(twins, automatic=True, expected_champion=3, actor="automation", reason="dark")
    findings = {finding.code: finding for finding in examine(registry, twins)}
    assert list(findings) == ["on-hold", "candidate-quarantined"]
    hold = findings["on-hold"].message
    assert "automation rolled it back as operation 4 (dark)" in hold
    assert command_line("doctor", twins) == 0


def test_the_command_groups_by_release_and_leaves_with_3(registry, client, single, capsys):
    assert command_line("doctor", single) == 0
    assert "all is well: 1 release examined" in capsys.readouterr().out
    client.delete_registered_model_alias(registered(single), "rollback")
    assert command_line("doctor", single) == 3
    out = capsys.readouterr().out
    assert out.startswith(single)
    assert "rollback-missing" in out
    assert "1 error; 1 release examined" in out
    assert command_line("doctor", single, "--json") == 3
    data = json.loads(capsys.readouterr().out)
    assert data["releases"] == 1
    assert data["findings"][0]["remedy"]
    assert data["findings"][0]["severity"] == "error"
