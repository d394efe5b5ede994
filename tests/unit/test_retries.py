"""Which failures of a step are worth another try."""

import logging
import uuid
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode
from prefect import task
from prefect.client.schemas.objects import TaskRun
from prefect.states import Failed
from pydantic import SecretStr

from flows import promotion
from flows.retries import worth_retrying
from guardianflow.cli.show import flow_run_of
from guardianflow.errors import (
    DatasetInvalid,
    DiskFull,
    GateFailed,
    InputError,
    NoCandidate,
    OrchestratorUnavailable,
    PermissionDenied,
    RegistryUnavailable,
    RotationConflict,
    ScenarioFrozen,
    ScenarioInvalid,
)
from guardianflow.mlflow_store.client import write_repeatably
from guardianflow.prefect_api.run_tokens import RunToken, TokenKind


@task
def step():
    """Any step."""


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (RegistryUnavailable, True),
        (OrchestratorUnavailable, True),
        (RotationConflict, True),
        (OSError, True),
        (DiskFull, True),
        (MemoryError, True),
        (GateFailed, False),
        (NoCandidate, False),
        (PermissionDenied, False),
        (ScenarioFrozen, False),
        (DatasetInvalid, False),
    ],
)
def test_only_what_may_pass_by_itself_is_tried_again(failure, again):
    run = TaskRun(task_key="step", dynamic_key="0", flow_run_id=uuid.uuid4())
    assert worth_retrying(step, run, Failed(data=failure("no"))) is again


def test_a_write_that_collides_is_made_again_and_at_last_given_up(monkeypatch):
    pauses, made = [], []
    monkeypatch.setattr(write_repeatably.retry, "sleep", pauses.append)

    def write(collisions, code="BAD_REQUEST"):
        made.append(code)
        if len(made) <= collisions:
            raise MlflowException("no", error_code=ErrorCode.Value(code))

    write_repeatably(lambda: write(3))
    assert (len(made), pauses) == (4, [0.05, 0.2, 0.5])
    made.clear()
    with pytest.raises(MlflowException):
        write_repeatably(lambda: write(4))
    assert len(made) == 4
    made.clear()
    with pytest.raises(MlflowException):
        write_repeatably(lambda: write(1, "PERMISSION_DENIED"))
    assert len(made) == 1


@pytest.mark.parametrize(
    ("failure", "again"),
    [(ScenarioInvalid, True), (RegistryUnavailable, True), (InputError, False)],
)
def test_a_decision_waits_for_a_block_that_is_wrong_just_now(failure, again):
    run = TaskRun(task_key="decide", dynamic_key="0", flow_run_id=uuid.uuid4(), run_count=9)
    decide = promotion.decide_promotion
    assert decide.retry_condition_fn(decide, run, Failed(data=failure("no"))) is again


@pytest.fixture
def waiting(monkeypatch):
    """A question that waits, while the approval policy was edited into something unusable."""

    def spoilt(_):
        raise InputError("The block cannot be used.")

    asked = SimpleNamespace(version=2, ask=lambda make: make(), said=[])
    asked.void = lambda why: asked.said.append(why) or why
    client = SimpleNamespace(read_flow_run=lambda _: SimpleNamespace(created=None))
    for name, instead in {
        "scenario_registry": lambda: None,
        "mirror_policy": spoilt,
        "Question": lambda *_: asked,
        "get_client": lambda **_: nullcontext(client),
        "get_run_logger": lambda: logging.getLogger("a test"),
        "flow_run": SimpleNamespace(get_id=lambda: str(uuid.UUID(int=7))),
        "run_token": lambda kind: kind,
    }.items():
        monkeypatch.setattr(promotion, name, instead)
    return asked


def test_a_policy_that_cannot_be_used_costs_no_answer_and_asks_nobody(waiting):
    taken = SimpleNamespace(complaint="no", answers=())
    waiting.take = lambda *_: taken
    assert promotion.take_answer.fn(1, None, 1, None, SecretStr("")) is taken
    with pytest.raises(InputError, match="cannot be used"):
        promotion.open_round.fn(1, "a/b/c/d", 2, "", "", force=False)


def test_a_block_that_is_wrong_just_now_voids_no_answer(waiting, monkeypatch):
    def wrong(*_, **__):
        raise ScenarioInvalid("unknown key 'colour'")

    monkeypatch.setattr("flows.promotion.decide", wrong)
    standing = SimpleNamespace(decision="approve", counted=())
    with pytest.raises(ScenarioInvalid):
        promotion.decide_promotion.fn(1, None, standing)
    assert waiting.said == []


@pytest.mark.parametrize("kind", TokenKind)
def test_the_flow_run_of_a_token_is_found_again(kind):
    token = RunToken(kind, str(uuid.UUID(int=7)))
    assert str(token) == f"{kind}-00000000-0000-0000-0000-000000000007"
    assert RunToken.parse(str(token)) == token
    for other in (f"cli-{token.run_id}", f"{token}-{token.run_id}", f"{kind}-1", token.run_id):
        assert RunToken.parse(other) is None


def test_history_names_the_flow_runs_that_moved_aliases():
    run = str(uuid.UUID(int=7))
    found = {kind: flow_run_of(str(RunToken(kind, run))) for kind in TokenKind}
    moves = (TokenKind.PROMOTION, TokenKind.ROLLBACK)
    assert found == {kind: run if kind in moves else None for kind in TokenKind}
