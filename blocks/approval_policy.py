"""The block with the approval rules: on the server, not in the engineer's YAML file."""

from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl

from guardianflow.promotion.approval.policy import ApprovalRule

POLICY_DOCUMENT = "guardianflow-approval"


class ApprovalPolicy(Block):
    """The rules for approvals of promotions: the first rule that matches a model counts.

    Without a matching rule, one declared name is enough. The release workers copy the rules to
    MLflow, where the command line reads them.

    Example:
        Two approvals with one-time codes for one customer:
        ```python
        from blocks import ApprovalPolicy
        from guardianflow.promotion.approval.policy import ApprovalRule, Proof

        policy = ApprovalPolicy.load("BLOCK_NAME")
        policy.rules = [
            ApprovalRule(models="donghwa-entec/*", approvals_needed=2, proof=Proof.TOTP)
        ]
        policy.save("BLOCK_NAME", overwrite=True)
        ```
    """

    _block_type_name: ClassVar[str | None] = "Approval Policy"
    _block_type_slug: ClassVar[str | None] = "approval-policy"
    _description: ClassVar[str | None] = (
        "Who may approve promotions, how many, with which proof, and for how long."
    )
    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl(
        "https://docs.prefect.io/v3/concepts/blocks"
    )

    rules: list[ApprovalRule] = Field(
        default_factory=list[ApprovalRule],
        description="Rules in their order; the first whose pattern fits the model counts.",
    )
