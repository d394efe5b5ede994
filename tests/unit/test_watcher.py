"""What the watcher does with the pass that it asked for, and how long it is blind; no servers."""

import logging
import os
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import psutil
import pytest
from prefect.client.schemas.objects import Flow, FlowRun
from prefect.states import Cancelled, Completed, Failed, Paused, Pending, Running

from deployments import watcher as module
from deployments.processes import MARK, spawn, trim_logs
from deployments.watcher import AGAIN_S, EVERY_S, Watcher, look_once
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.flowruns import describe_run


class Prefect:
    """A server on which passes are submitted, and end as a test says."""

    api_url = "http://127.0.0.1:9/api"

    def __init__(self):
        self.passes = []
        self.given = []
        self.scheduled = []
        self.promotions = [[], []]

    def submit(self, deployment, parameters, *, idempotency_key):
        assert idempotency_key not in [run.idempotency_key for run in self.passes]
        flow = Flow(name="reconcile")
        state = Pending()
        self.given.append(parameters)
        self.passes.append(
            FlowRun(flow_id=flow.id, name="-", state=state, idempotency_key=idempotency_key)
        )
        return describe_run(self.passes[-1], "")

    def find_all(self, ids):
        return {str(run.id): describe_run(run, "") for run in self.passes if str(run.id) in ids}

    def undecided(self):
        return self.promotions

    def end(self, state):
        self.passes[-1].state = state

    # As a client.
    def read_deployment_by_name(self, name):
        return SimpleNamespace(id=name, paused=False, schedules=[SimpleNamespace(active=True)])

    def request(self, method, path, json):
        found = self.scheduled if path == "/flow_runs/filter" else []
        return SimpleNamespace(json=lambda: found)


@pytest.fixture
def prefect(monkeypatch):
    made = Prefect()

    @contextmanager
    def open_client(url):
        yield made

    monkeypatch.setattr(module, "open_client", open_client)
    return made


@pytest.fixture
def watcher(prefect, monkeypatch):
    made = Watcher(prefect)
    monkeypatch.setattr(made, "_models_and_reports", list)
    return made


def test_a_change_is_looked_at_until_two_passes_have_ended_well(watcher, prefect):
    assert watcher.look(0) == "changed"
    prefect.end(Completed(name="AllWell"))
    assert watcher.look(AGAIN_S - 1) is None
    assert watcher.look(AGAIN_S) == "again"
    prefect.end(Completed(name="Alarm"))
    assert [watcher.look(AGAIN_S * turn) for turn in (2, 3, 30)] == [None] * 3
    assert len(prefect.passes) == 2


@pytest.mark.parametrize("ended", [Cancelled, Failed])
def test_a_pass_that_was_cancelled_or_failed_is_made_again(watcher, prefect, ended):
    watcher.look(0)
    prefect.end(ended())
    assert watcher.look(AGAIN_S) == "again"
    prefect.end(Completed())
    assert watcher.look(AGAIN_S * 4) == "again"
    prefect.end(ended())
    assert watcher.look(AGAIN_S * 8) == "again"
    prefect.end(Completed())
    assert watcher.look(AGAIN_S * 20) is None
    assert len(prefect.passes) == 4


def test_passes_that_go_on_failing_are_made_more_seldom(watcher, prefect):
    made, hour = [], 3600
    for now in range(0, hour, int(EVERY_S)):
        if watcher.look(now):
            prefect.end(Failed())
            made.append(now)
    assert made[:4] == [0, 60, 180, 420]
    assert len(made) < 12


def test_one_that_is_at_work_is_waited_for_but_not_for_ever(watcher, prefect):
    watcher.look(0)
    prefect.end(Running())
    assert watcher.look(AGAIN_S) is None
    prefect.end(Completed())
    assert watcher.look(AGAIN_S + 15) == "again"
    prefect.end(Running())
    assert watcher.look(AGAIN_S * 100) is None
    prefect.end(Failed())
    assert watcher.look(AGAIN_S * 101) is None


def test_while_mlflow_is_away_one_pass_says_so(watcher, prefect):
    watcher.look(0)
    watcher.trouble = "MLflow cannot be looked at"
    prefect.end(Failed())
    assert [watcher.look(AGAIN_S * turn) for turn in (1, 2, 30)] == [None] * 3


def test_the_turn_of_a_scheduled_pass_that_was_cancelled_is_taken_once(watcher, prefect):
    def pass_(state, **parameters):
        return {"state_type": state, "parameters": parameters}

    prefect.scheduled = [pass_("COMPLETED", files="size"), pass_("SCHEDULED")]
    watcher.look(0)
    prefect.scheduled = [
        pass_("CANCELLED"),
        pass_("COMPLETED", files="size"),
        pass_("COMPLETED", model_name="a/b-c/d/e"),
    ]
    prefect.end(Completed())
    watcher.look(AGAIN_S)
    prefect.scheduled.append(pass_("COMPLETED"))
    prefect.promotions = [["one"], []]
    watcher.look(AGAIN_S * 2)
    assert prefect.given == [{"files": "size"}, {}, {"files": "size"}]


def test_a_promotion_that_was_answered_and_then_fails_is_a_change(watcher, prefect):
    prefect.promotions = [[], ["asked"]]
    watcher.look(0)
    prefect.promotions = [[], []]
    assert watcher.look(15) == "changed"


def test_promotions_that_wait_are_told_from_those_under_way(monkeypatch):
    flow, states = Flow(name="promote"), (Paused(), Running(), Pending())
    runs = [FlowRun(flow_id=flow.id, state=state) for state in states]
    monkeypatch.setattr(Orchestrator, "_promotions", lambda self, *states: runs)
    waiting, *under_way = (str(run.id) for run in runs)
    assert Orchestrator("http://127.0.0.1:9/api").undecided() == [[waiting], sorted(under_way)]


@pytest.mark.parametrize(("took", "pause"), [(0.1, EVERY_S), (1, 20), (38, 30)])
def test_it_looks_for_a_part_of_the_time_and_twice_a_minute(watcher, monkeypatch, took, pause):
    clock = iter([100.0, 100.0 + took])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(watcher, "look", lambda now: None)
    assert look_once(watcher) == pytest.approx(pause)


def test_a_look_that_failed_is_soon_made_again(watcher, monkeypatch):
    def look(now):
        raise RuntimeError("no")

    monkeypatch.setattr(watcher, "look", look)
    assert look_once(watcher) == EVERY_S


def test_logs_that_cannot_be_cut_keep_nobody_from_looking(watcher, monkeypatch, tmp_path):
    def trim(folder):
        raise PermissionError(folder)

    looked = []
    monkeypatch.setenv(MARK, str(tmp_path))
    monkeypatch.setattr(module, "trim_logs", trim)
    monkeypatch.setattr(watcher, "look", looked.append)
    logging.getLogger("prefect.watcher").setLevel(logging.CRITICAL)
    look_once(watcher)
    assert len(looked) == 1


def test_while_mlflow_is_in_trouble_it_looks_as_often_as_ever(watcher, monkeypatch):
    clock = iter([100.0, 138.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(watcher, "look", lambda now: None)
    watcher.trouble = "MLflow cannot be looked at"
    assert look_once(watcher) == EVERY_S


def test_what_a_process_writes_stays_bounded_while_the_watcher_looks(
    watcher, monkeypatch, tmp_path
):
    limit, logs = 50_000, tmp_path / "logs"
    monkeypatch.setenv(MARK, str(tmp_path))
    monkeypatch.setattr(module, "trim_logs", lambda folder: trim_logs(folder, limit))
    monkeypatch.setattr(watcher, "look", lambda now: None)
    script = "import time\nfor n in range(300): print('x' * 9_999, flush=True); time.sleep(0.01)"
    record = spawn(
        "worker",
        [sys.executable, "-c", script],
        env=os.environ,
        cwd=tmp_path,
        log=logs / "worker.log",
    )
    largest = 0
    while (process := record.process()) and process.status() != psutil.STATUS_ZOMBIE:
        look_once(watcher)
        largest = max(largest, sum(file.stat().st_size for file in logs.iterdir()))
    # Three million were written; between two looks a slow machine may let some more come.
    assert limit < largest < 20 * limit
    assert (logs / "worker.log.1").stat().st_size <= limit
