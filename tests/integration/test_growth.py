"""Prefect's database and files stay as large as they are, whatever is done and however long.

A real server on SQLite, set as `make up` sets it. The same work is done in each of several years:
its rows are made older in the database, a pass forgets what is old, the server deletes the rest.
Whatever table is larger after the second year than after the first would grow for ever.
"""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.local import PREFECT_SERVER
from deployments.state import RETENTION
from flows.retention import forget_old_runs
from guardianflow.prefect_api.prefect_yaml import RECONCILE
from testbed.servers import prefect_server_on
from tests.integration.year_of_work import KEYS

# What Prefect does every hour, or every day, is done every second; no passes that no worker makes.
QUICKLY = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
DEADLINE_S = 120
LEFT_OVER = """
    select 'events', count(*) from events where occurred < datetime('now', '-7 days')
    union all select 'resources', count(*) from event_resources
        where occurred < datetime('now', '-7 days')
    union all select 'logs', count(*) from log where flow_run_id not in (select id from flow_run)
    union all select 'pages', count(*) from artifact
        where flow_run_id not in (select id from flow_run)
"""


pytestmark = pytest.mark.long


class Years:
    """A server on which years of work pass."""

    def __init__(self, folder, address):
        self.folder, self.address = folder, address

    def ask(self, words):
        with closing(sqlite3.connect(self.folder / "prefect.db", timeout=60)) as database, database:
            return database.execute(words).fetchall()

    def rows(self):
        """How many rows there are in each table."""
        tables = [name for (name,) in self.ask("select name from sqlite_master where type='table'")]
        return {name: self.ask(f'select count(*) from "{name}"')[0][0] for name in tables}

    def work(self):
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.year_of_work"],
            env={**os.environ, "PREFECT_API_URL": self.address},
            cwd=Path(__file__).parents[2],
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]

    def pass_by(self):
        """Make every row more than a year older, forget what is old, and wait for the server."""
        for table in self.rows():
            columns = [
                name
                for _, name, kind, *_ in self.ask(f'pragma table_info("{table}")')
                if kind == "DATETIME" and name not in ("total_run_time", "estimated_run_time")
            ]
            # To the microsecond, or two states of a run would be of the same time.
            older = (
                f"\"{column}\" = strftime('%Y-%m-%d %H:%M:%S', \"{column}\", '-400 days')"
                f' || substr("{column}", 20)'
                for column in columns
            )
            if columns:
                self.ask(f'update "{table}" set {", ".join(older)}')
        with (
            temporary_settings({PREFECT_API_URL: self.address}),
            get_client(sync_client=True) as client,
        ):
            deployment = client.read_deployment_by_name(RECONCILE).id
            forget_old_runs(str(deployment), datetime.now(UTC))
        deadline = time.monotonic() + DEADLINE_S
        while left := {what: count for what, count in self.ask(LEFT_OVER) if count}:
            assert time.monotonic() < deadline, left
            time.sleep(0.5)

    def pass_until_nothing_is_told(self):
        """Let years pass until no event is left: deletions are told, too, and somewhat later.

        The same holds for the buckets in which the server counts events for its automations.
        """
        deadline = time.monotonic() + DEADLINE_S
        while True:
            self.pass_by()
            time.sleep(2)
            left = {table: self.rows()[table] for table in ("events", "automation_bucket")}
            if not any(left.values()):
                return
            assert time.monotonic() < deadline, left


@pytest.fixture(scope="module")
def years(tmp_path_factory):
    folder = tmp_path_factory.mktemp("years")
    with prefect_server_on(folder, {**RETENTION, **QUICKLY}, PREFECT_SERVER) as address:
        made = Years(folder, f"{address}/api")
        made.work()
        made.pass_until_nothing_is_told()
        yield made


def test_no_table_is_larger_after_another_year_of_work(years):
    before = years.rows()
    assert before["artifact"] == before["artifact_collection"] == len(KEYS)
    assert before["event_resources"] == before["events"] == 0
    years.work()
    during = years.rows()
    for table in ("events", "event_resources", "log", "artifact", "task_run", "flow_run"):
        assert during[table] > before[table]
    years.pass_until_nothing_is_told()
    assert years.rows() == before


def test_the_newest_version_of_every_page_stays_and_opens(years):
    for key in KEYS:
        newest = years.ask(f"select latest_id from artifact_collection where key = '{key}'")
        assert newest == years.ask(f"select id from artifact where key = '{key}'")
