"""Which failures of a step are worth another try."""

import uuid

import pytest
from prefect import task
from prefect.client.schemas.objects import TaskRun
from prefect.states import Failed

from flows.connection import worth_retrying
from guardianflow.errors import (
    DatasetInvalid,
    DiskFull,
    GateFailed,
    NoCandidate,
    OrchestratorUnavailable,
    PermissionDenied,
    RegistryUnavailable,
    RotationConflict,
    ScenarioFrozen,
)


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
