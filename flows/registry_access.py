"""Opens the registry with what is saved on the Prefect server: credentials, the approval policy."""

import logging
from functools import lru_cache

from prefect.runtime import flow_run

from blocks import ApprovalPolicy, MlflowCredentials
from blocks.approval_policy import POLICY_DOCUMENT
from blocks.mlflow_credentials import DEFAULT_DOCUMENT
from blocks.saved import default_credentials, load_saved
from flows.scenario_blocks import load_config
from guardianflow.errors import ScenarioInvalid
from guardianflow.promotion.approval.stored_rules import mirror_rules
from guardianflow.registry import ModelRegistryManager


def scenario_registry(scenario: str | None = None) -> ModelRegistryManager:
    """Open the registry with a scenario's credentials, or with the default ones.

    Address and account come from a saved block, never from a parameter. A scenario may have an
    account of its own, but no server of its own: promotions know only the model's name.

    Raises:
        ScenarioInvalid: The scenario's credentials are for another server.
        InputError: The Prefect server has no default credentials, or they cannot be used.
    """
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
    # What our modules log belongs in the log of the flow run (PREFECT_LOGGING_EXTRA_LOGGERS).
    logging.getLogger("guardianflow").setLevel(logging.INFO)
    return ModelRegistryManager(credentials.tracking_uri)


@lru_cache(maxsize=1)
def _credentials_once(run: str | None) -> MlflowCredentials | None:
    """The default credentials, read once per flow run: Prefect keeps an event of each reading."""
    return default_credentials() if run else None


def mirror_policy(registry: ModelRegistryManager) -> bool:
    """Copy the approval rules to MLflow, where every command finds them; whether they differed.

    Deleting the block loosens nothing: the rules in MLflow stay.

    Raises:
        InputError: The rules of the block cannot be used.
    """
    policy = load_saved(ApprovalPolicy, POLICY_DOCUMENT)
    return policy is not None and mirror_rules(registry.client, policy.rules)
