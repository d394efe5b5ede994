"""Which passes the watcher submits, on real servers: where something changed, and no others."""

import sqlite3
import threading
import time
from contextlib import closing

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Completed

from blocks.approval_policy import POLICY_DOCUMENT, ApprovalPolicy
from deployments.watcher import AGAIN_S, EVERY_S, Watcher, look_once
from guardianflow.prefect_api.prefect_yaml import RECONCILE
from tests.integration.releases import registered


@pytest.fixture
def prefect(applied, releases):
    with get_client(sync_client=True) as client:
        yield client
        for run in client.read_flow_runs():
            client.delete_flow_run(run.id)


def submitted(client):
    """The passes that were asked for by somebody, not by the schedule."""
    return [run for run in client.read_flow_runs() if not run.auto_scheduled]


def end_all(client):
    """Let the passes that were submitted end well, as a worker would."""
    for run in submitted(client):
        client.set_flow_run_state(run.id, Completed(), force=True)


@pytest.fixture
def watcher(applied, prefect):
    """One that has looked before."""
    made = Watcher(applied)
    for now in (0, AGAIN_S, AGAIN_S * 1.5):
        made.look(now)
        end_all(prefect)
    made.look(AGAIN_S * 2)
    return made


def test_nothing_is_written_while_nothing_changes(watcher, prefect):
    before = len(submitted(prefect))
    assert [watcher.look(AGAIN_S * 2 + turn) for turn in range(1, 20)] == [None] * 19
    assert len(submitted(prefect)) == before


def test_an_alias_moved_by_hand_is_looked_at_at_once_and_a_minute_later(watcher, prefect, releases):
    name = releases.release()
    assert watcher.look(100) == "changed"
    end_all(prefect)
    assert watcher.look(100 + AGAIN_S) == "again"
    end_all(prefect)
    before = len(submitted(prefect))
    releases.client.set_registered_model_alias(registered(name), "champion", "1")
    assert watcher.look(200) == "changed"
    assert watcher.look(200 + AGAIN_S / 2) is None
    # It is not made yet.
    assert watcher.look(200 + AGAIN_S) is None
    end_all(prefect)
    assert watcher.look(200 + AGAIN_S) == "again"
    end_all(prefect)
    assert watcher.look(200 + AGAIN_S * 2) is None
    passes = submitted(prefect)
    assert len(passes) == before + 2
    assert passes[0].parameters["files"] == "size"


def test_edited_approval_rules_and_an_mlflow_that_went_away_are_changes(
    watcher, prefect, releases, monkeypatch
):
    ApprovalPolicy.load(POLICY_DOCUMENT).save(POLICY_DOCUMENT, overwrite=True)
    assert watcher.look(100) == "changed"
    end_all(prefect)
    assert watcher.look(100 + AGAIN_S) == "again"
    end_all(prefect)
    monkeypatch.setattr(watcher._credentials, "tracking_uri", "http://127.0.0.1:9")
    assert watcher.look(300) == "changed"
    end_all(prefect)
    assert watcher.look(300 + AGAIN_S) == "again"
    end_all(prefect)
    assert watcher.look(300 + AGAIN_S * 2) is None


def test_two_workers_that_see_the_same_ask_for_one_pass(
    applied, watcher, prefect, releases, monkeypatch
):
    monkeypatch.setattr("deployments.watcher.time.time", lambda: 1e9)
    releases.release()
    before = len(submitted(prefect))
    assert [one.look(100) for one in (watcher, Watcher(applied))] == ["changed", "changed"]
    assert len(submitted(prefect)) == before + 1


def test_a_schedule_that_is_off_keeps_passes_off(watcher, prefect, releases):
    deployment = prefect.read_deployment_by_name(RECONCILE).id
    prefect.pause_deployment(deployment)
    try:
        releases.release()
        assert watcher.look(100) is None
    finally:
        prefect.resume_deployment(deployment)
    assert watcher.look(101) == "changed"


def test_an_mlflow_whose_database_is_stuck_is_told_of_in_time_and_seen_again_at_once(
    watcher, prefect, mlflow_folder, mlflow_server
):
    with closing(sqlite3.connect(mlflow_folder / "mlflow.db", timeout=60)) as database:
        # It still says who it is, and makes its clients wait for minutes for all else.
        database.execute("begin exclusive")
        began = time.monotonic()
        assert watcher.look(100) == "changed"
        assert time.monotonic() - began < 60
        assert watcher.trouble
        assert look_once(watcher) == EVERY_S
        database.rollback()
    end_all(prefect)
    # As soon as it answers: whatever of the change was told before.
    assert watcher.look(200) == "changed"
    assert not watcher.trouble
    assert look_once(watcher) >= EVERY_S


def test_an_mlflow_that_stops_in_the_middle_of_a_look_holds_it_up_for_seconds(watcher, monkeypatch):
    answered = threading.Event()
    monkeypatch.setattr("deployments.watcher._PATIENCE_S", 0.2)
    monkeypatch.setattr("deployments.watcher.list_models", lambda client: answered.wait(30) and [])
    try:
        assert watcher.look(100) == "changed"
    finally:
        answered.set()
    assert "has not said within" in watcher.trouble
