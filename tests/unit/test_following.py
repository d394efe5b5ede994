"""Following a flow run: until it rests, through moments without a server, for a limited time."""

import time
from types import SimpleNamespace

import pytest

from guardianflow.errors import OrchestratorUnavailable
from guardianflow.prefect_api import following
from guardianflow.prefect_api.following import follow_run

RUNNING = SimpleNamespace(final=False, waiting=False)
DONE = SimpleNamespace(final=True, waiting=False)
ASKS = SimpleNamespace(final=False, waiting=True)


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)


def server(*answers, passed=None):
    """What a look returns or raises, one after the other; the last one for ever."""
    left = list(answers)

    def look():
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        if passed is not None:
            passed.append(1)
        return answer

    return look


@pytest.mark.parametrize("end", [DONE, ASKS])
def test_it_is_followed_until_it_rests_and_the_log_once_more(end):
    passed = []
    assert follow_run(server(RUNNING, RUNNING, end, passed=passed), None) is end
    assert len(passed) == 4


def test_a_server_that_is_away_for_a_moment_is_waited_for():
    away = OrchestratorUnavailable("away")
    passed = []
    found = follow_run(server(away, RUNNING, away, away, DONE, passed=passed), None)
    assert found is DONE
    assert len(passed) == 3


def test_a_server_that_stays_away_is_told(monkeypatch):
    monkeypatch.setattr(following, "_PATIENCE_S", 0)
    with pytest.raises(OrchestratorUnavailable, match="away"):
        follow_run(server(OrchestratorUnavailable("away")), None)


def test_after_its_time_it_is_returned_as_it_stands():
    assert follow_run(server(RUNNING), 0.0) is RUNNING
