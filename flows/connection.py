"""Opens what a flow works with, by the names of block documents: registry and scenario."""

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run

from blocks import ApprovalPolicy, MlflowCredentials, ScenarioConfig
from blocks.approval_policy import POLICY_DOCUMENT
from blocks.mlflow_credentials import DEFAULT_DOCUMENT
from blocks.saved import default_credentials, load_saved
from guardianflow.errors import (
    DiskFull,
    GuardianflowError,
    RotationConflict,
    ScenarioInvalid,
    ServerUnreachable,
)
from guardianflow.scenario import Scenario, ScenarioSpec

if TYPE_CHECKING:
    from guardianflow.registry import ModelRegistryManager

_FEW_RETRIES = 3
log = logging.getLogger("guardianflow.flows")


def load_config(document: str) -> ScenarioConfig:
    """The scenario block with this name.

    Raises:
        ScenarioInvalid: The server has no such document, or it cannot be used.
    """
    config = _saved_config(document)
    if config is None:
        raise ScenarioInvalid(
            f"The Prefect server has no Scenario Config block named {document!r}.",
            remedy="`python -m deployments.apply` brings those of scenarios/; others are made in "
            "the UI under Blocks.",
            value=document,
        )
    return config


def _saved_config(document: str) -> ScenarioConfig | None:
    return load_saved(ScenarioConfig, document, unusable=ScenarioInvalid)


def load_version(document: str, version: str) -> Scenario:
    """One version of a scenario block, checked before any work is spent."""
    return load_config(document).spec().version(version).check()


def today_in_blocks(name: str, version: str) -> Scenario | None:
    """A version of a scenario as its block says now; None where there is no such block or version.

    The limits of gate and health, the language and how long pictures of workers are kept are no
    part of a training: they count from the next question or report on. The other versions may be
    drafts.

    Raises:
        ScenarioInvalid: Something that the version says is wrong.
    """
    config = _saved_config(name)
    if config is None or version not in config.versions:
        return None
    content = {**config.common, "versions": {version: config.versions[version]}}
    return ScenarioSpec.from_mapping(config.name, content).version(version)


def limits_in_blocks(name: str, version: str) -> Scenario | None:
    """As `today_in_blocks`, but of a block that is wrong what was recorded counts.

    So a slip of somebody who edits a block leaves no model unwatched.
    """
    try:
        return today_in_blocks(name, version)
    except ScenarioInvalid as error:
        log.warning("health is judged by the limits of the training: %s", error.message)
        return None


def scenario_registry(scenario: str | None = None) -> "ModelRegistryManager":
    """The registry of a scenario's credentials, or of the default ones.

    Address and account come from a saved block, never from a parameter. A scenario may have an
    account of its own, but no server of its own: promotions know only the model's name.

    Raises:
        ScenarioInvalid: The scenario's credentials are those of another server.
        InputError: The Prefect server has no default credentials, or they cannot be used.
    """
    from guardianflow.registry import ModelRegistryManager

    credentials = _credentials_once(flow_run.get_id()) or default_credentials()
    if scenario:
        own = load_config(scenario).credentials
        if own.tracking_uri != credentials.tracking_uri:
            raise ScenarioInvalid(
                f"Scenario {scenario} is on {own.tracking_uri}, but promotions and rollbacks use "
                f"{credentials.tracking_uri}.",
                remedy=f"Let its block use the credentials {DEFAULT_DOCUMENT!r}, or others of the "
                "same server.",
                value=own.tracking_uri,
            )
        credentials = own
    credentials.activate()
    # What our modules log belongs into the flow run's log (PREFECT_LOGGING_EXTRA_LOGGERS).
    logging.getLogger("guardianflow").setLevel(logging.INFO)
    return ModelRegistryManager(credentials.tracking_uri)


@lru_cache(maxsize=1)
def _credentials_once(run: str | None) -> MlflowCredentials | None:
    """The default credentials, read once in a flow run: each time is an event that is kept."""
    return default_credentials() if run else None


def mirror_policy(registry: "ModelRegistryManager") -> bool:
    """Copy the approval rules of the Prefect server to MLflow; whether they were others there.

    A block that was deleted loosens nothing: the rules stay as they were.

    Raises:
        InputError: The block holds rules that are none.
    """
    from guardianflow.promotion.approval.stored_rules import mirror_rules

    policy = load_saved(ApprovalPolicy, POLICY_DOCUMENT)
    if policy is None:
        return False
    return mirror_rules(registry.client, policy.rules)


def patient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """As `worth_retrying`, and long only for a server that is away: an answer must outlive that."""
    error = cast("object", state.result(raise_on_failure=False))
    few = run.run_count <= _FEW_RETRIES or isinstance(error, ServerUnreachable)
    return few and worth_retrying(task, run, state)


def patient_with_blocks(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """As `patient`, and as long for a scenario's block in which somebody made a slip."""
    error = cast("object", state.result(raise_on_failure=False))
    return isinstance(error, ScenarioInvalid) or patient(task, run, state)


def worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again can help: not where a rule said no or the input is wrong."""
    error = cast("object", state.result(raise_on_failure=False))
    if isinstance(error, GuardianflowError):
        return isinstance(error, ServerUnreachable | RotationConflict | DiskFull)
    return True


AGAIN: dict[str, Any] = {"retry_condition_fn": worth_retrying, "cache_policy": NO_CACHE}
"""How a step is tried again: where that can help, and never answered from an earlier run."""


def run_token(kind: str) -> str:
    """A token that is the same for every attempt of this flow run, on whichever worker."""
    return f"{kind}-{flow_run.get_id()}"
