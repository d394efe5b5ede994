"""A back-up is restored as docs/operations.md says, and what came after it is made again."""

import shutil
import sqlite3

import pytest

from guardianflow.care.doctor import examine
from guardianflow.care.findings import FileCheck, Severity
from tests.integration.releases import Releases
from tests.servers import mlflow_server_on


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of this module's own, whose database is replaced here."""
    with mlflow_server_on(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


def back_up(server):
    """`sqlite3 mlflow.db ".backup mlflow.backup.db"`, while the server runs."""
    with (
        sqlite3.connect(server.folder / "mlflow.db") as database,
        sqlite3.connect(server.folder / "mlflow.backup.db") as copy,
    ):
        database.backup(copy)


def restore(server):
    """Stop it, copy the file back, start it."""
    server.stop()
    for left in server.folder.glob("mlflow.db-*"):
        left.unlink()
    shutil.copy(server.folder / "mlflow.backup.db", server.folder / "mlflow.db")
    server.start()


def test_what_came_after_the_back_up_is_gone_and_is_made_again(server, monkeypatch, tmp_path):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path))
    releases = Releases(server.uri, server.folder)
    registry, name = releases.registry, releases.release(variant=True)
    back_up(server)
    for _ in range(2):
        # The copy on this machine knows these files by numbers that will be given anew.
        registry.download(name, releases.version(name))
        registry.promote_to_champion(name, reason="after the back-up")
    assert registry.get_champion(name).version == 4
    restore(server)

    # History and aliases went back together: nothing looks wrong.
    assert registry.get_champion(name).version == 2
    assert [operation.seq for operation in registry.history(name)] == [1, 2]
    findings = examine(registry, files=FileCheck.SHA256)
    assert [f for f in findings if f.severity is Severity.ERROR] == []

    assert releases.version(name) == 3
    again = registry.promote_to_champion(name, reason="made again")
    assert (again.seq, registry.get_champion(name).version) == (3, 3)
    assert registry.rollback(name, reason="and back").after[name] == 2
    findings = examine(registry, files=FileCheck.SHA256)
    assert [f for f in findings if f.severity is Severity.ERROR] == []
