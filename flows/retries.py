"""Retries: which failures of a step are tried again, and the token that all its attempts share."""

from typing import Any, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run

from guardianflow.errors import (
    DiskFull,
    GuardianflowError,
    RotationConflict,
    ScenarioInvalid,
    ServerUnreachable,
)
from guardianflow.prefect_api.run_tokens import RunToken, TokenKind

_FEW_RETRIES = 3


def worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again can help: not if a rule refused or the input is wrong."""
    error = cast("object", state.result(raise_on_failure=False))
    if isinstance(error, GuardianflowError):
        return isinstance(error, ServerUnreachable | RotationConflict | DiskFull)
    return True


def _patient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """As `worth_retrying`, but more than a few times only for a server that is away."""
    error = cast("object", state.result(raise_on_failure=False))
    few = run.run_count <= _FEW_RETRIES or isinstance(error, ServerUnreachable)
    return few and worth_retrying(task, run, state)


def _patient_with_blocks(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """As `_patient`, and as often for a scenario's block that cannot be used."""
    error = cast("object", state.result(raise_on_failure=False))
    return isinstance(error, ScenarioInvalid) or _patient(task, run, state)


def run_token(kind: TokenKind) -> str:
    """A token that is the same for every attempt of this flow run, on whichever worker."""
    return str(RunToken(kind, str(flow_run.get_id())))


AGAIN: dict[str, Any] = {"retry_condition_fn": worth_retrying, "cache_policy": NO_CACHE}
"""Try a step again where that can help, and never reuse the result of an earlier run."""
PATIENT: dict[str, Any] = {
    "retries": 30,
    "retry_delay_seconds": 10,
    "retry_condition_fn": _patient,
    "cache_policy": NO_CACHE,
}
"""As `AGAIN`, for five minutes: an answer that was given must outlive a restart of the servers."""
PATIENT_WITH_BLOCKS: dict[str, Any] = {**PATIENT, "retry_condition_fn": _patient_with_blocks}
"""As `PATIENT`, also while somebody edits the scenario's block."""
