"""Copies the approval policy from its block in Prefect to MLflow, where every command finds it."""

from typing import TYPE_CHECKING

from blocks import ApprovalPolicy
from blocks.approval_policy import POLICY_DOCUMENT
from blocks.saved import load_saved

if TYPE_CHECKING:
    from guardianflow.registry import ModelRegistryManager


def mirror_policy(registry: "ModelRegistryManager") -> bool:
    """Copy the approval rules to MLflow; return whether they differed there.

    Deleting the block loosens nothing: the rules in MLflow stay.

    Raises:
        InputError: The rules of the block cannot be used.
    """
    from guardianflow.promotion.approval.stored_rules import mirror_rules

    policy = load_saved(ApprovalPolicy, POLICY_DOCUMENT)
    if policy is None:
        return False
    return mirror_rules(registry.client, policy.rules)
