"""The order of a pass, and what becomes of a question whose deployment was deleted; no servers."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from flows import questions
from flows import reconcile as module
from flows.reconcile import reconcile
from guardianflow.errors import InputError
from guardianflow.events import EventName
from guardianflow.prefect_api.flowruns import FlowRunInfo
from guardianflow.prefect_api.server_state import START_WORKER

NAME = "test/lab-bench/welding/ppe"


@pytest.fixture
def steps(monkeypatch):
    """What a pass does, in its order."""
    made = []
    result = SimpleNamespace(champions={}, rescued=(), alarms=(), changed=False, message="well")

    def step(name, answer):
        def do(*_):
            made.append(name)
            return answer

        monkeypatch.setattr(module, name, do)

    step("look", (result, []))
    for name in (
        "watch_health",
        "copy_policy",
        "look_at_questions",
        "watch_silence",
        "watch_orchestrator",
    ):
        step(name, [])
    for name in ("publish_state", "refresh_status", "forget_pictures", "forget_old_runs"):
        step(name, None)
    return made


def test_old_passes_are_forgotten_when_nothing_can_fail_any_more(steps):
    assert reconcile.fn().name == "AllWell"
    assert steps[-1] == "forget_old_runs"
    assert len(steps) == 10


def test_a_pass_for_one_model_forgets_no_others(steps):
    reconcile.fn(NAME)
    assert "forget_old_runs" not in steps


def test_a_policy_that_cannot_be_used_keeps_no_question_open(monkeypatch, steps):
    def spoilt(_):
        raise InputError("The block cannot be used: rules.", remedy="Correct it.")

    done = Question()
    monkeypatch.setattr(questions, "scenario_registry", lambda: SimpleNamespace(client=None))
    monkeypatch.setattr(questions, "mirror_policy", spoilt)
    monkeypatch.setattr(questions, "open_questions", lambda _: [done])
    monkeypatch.setattr(questions, "was_decided", lambda *_: False)
    monkeypatch.setattr(questions, "send_event", lambda *_: None)
    monkeypatch.setattr(questions, "expire", lambda *_: None)
    orchestrator = SimpleNamespace(find_all=lambda _: {}, pending=list, under_way=list)
    monkeypatch.setattr(questions, "Orchestrator", lambda: orchestrator)
    for name in ("copy_policy", "look_at_questions"):
        monkeypatch.setattr(module, name, getattr(questions, name))
    monkeypatch.setattr(module, "watch_orchestrator", lambda _, also: list(also))
    ended = reconcile.fn()
    assert done.closed == "its flow run was deleted"
    assert ended.name == "Alarm"
    assert "The block cannot be used: rules." in ended.message
    assert steps[-1] == "forget_old_runs"


class Question:
    """One that waits."""

    request = "0"
    reminded = False

    def __init__(self):
        self.closed = ""
        self.asked = SimpleNamespace(
            model_name=NAME, version=2, versions={NAME: 2}, record="r", expires=None
        )

    def close(self, why):
        self.closed = why


@pytest.fixture
def told(monkeypatch):
    """Look at a question whose deployment refuses it so; what was told of it, and what was done."""
    done = SimpleNamespace(events=[], expired=[], cancelled=[], question=Question())

    def look(error):
        def submit(*_, **__):
            raise error

        orchestrator = SimpleNamespace(
            submit=submit,
            cancel=lambda run, why: done.cancelled.append(run),
            pending=list,
            under_way=list,
        )
        monkeypatch.setattr(questions, "Orchestrator", lambda: orchestrator)
        monkeypatch.setattr(questions, "send_event", lambda *sent: done.events.append(sent))
        monkeypatch.setattr(questions, "expire", lambda *given: done.expired.append(given[1]))
        run = FlowRunInfo("0", "-", "", "Suspended", "", False, False, True, orphaned=True)
        done.said = questions._look_at(None, done.question, run, datetime.now(UTC))
        return done

    return look


def test_a_question_that_the_new_deployment_refuses_is_told_as_undecided_and_closed(told):
    done = told(InputError("It refuses the parameters.", remedy="Correct them.", status=409))
    assert f"Nobody decided about {NAME} version 2: its deployment was deleted" in done.said
    assert "It refuses the parameters." in done.said
    assert [event for event, _ in done.events] == [EventName.UNDECIDED]
    assert done.expired == [{NAME: 2}]
    assert done.cancelled == ["0"]
    assert "cannot be asked again" in done.question.closed


def test_a_question_whose_deployment_is_missing_waits(told):
    done = told(InputError("There is no deployment.", deployment="promote/guardianflow"))
    assert (done.said, done.question.closed, done.events) == (None, "", [])
    assert done.cancelled == []


def test_the_remedy_for_a_pool_without_a_worker_starts_one_of_ours():
    assert "`python -m deployments.worker guardianflow-train`" in START_WORKER.format(
        "guardianflow-train"
    )
