"""What is asked of a person before a promotion; `approval/` says what a person answers."""

from datetime import datetime, timedelta

from pydantic import Field

from guardianflow.errors import ApprovalExpired
from guardianflow.evaluation.gate import GateOutcome, GateReport, Subject
from guardianflow.names import ModelName
from guardianflow.promotion.approval.policy import ApprovalRule, expires_at
from guardianflow.promotion.binding import Binding
from guardianflow.promotion.evidence.lineage import Lineage
from guardianflow.promotion.evidence.pictures import Pictures
from guardianflow.registry import Move
from guardianflow.stored import Stored
from guardianflow.wording.language import Language

_CLOCKS_DIFFER = timedelta(days=1)
"""A clock that is less ahead than this prolongs a question by no more."""


class Proposal(Stored):
    """What would move, why it may, and the figures that a person decides on."""

    model_name: str = Field(description="Public name that was asked for.")
    version: int = Field(description="The version that would become its champion.")
    expected_champion: int | None = Field(description="Its champion when this was measured.")
    moves: tuple[Move, ...] = Field(description="Every alias that would move.")
    stays: dict[str, int] = Field(
        default_factory=dict[str, int],
        # Older questions are recognised by the digest of a record without it.
        exclude_if=lambda stays: not stays,
        description="Variants in production that this leaves as they are: the cameras go on with "
        "these versions.",
    )
    warnings: tuple[str, ...] = Field(description="What the person should know besides.")
    subjects: tuple[Subject, ...] = Field(description="Candidate and champion, side by side.")
    gate: GateReport = Field(description="The rules and what they say.")
    headline: str = Field(description="The key figures in one line of plain words.")
    scenario: str = Field(description="Scenario and version that it was made for, or ''.")
    origin: str = Field(default="", description="The file that it was imported from, or ''.")
    images: int = Field(description="Frames of the frozen evaluation set.")
    dark_images: int | None = Field(
        default=None,
        # Older questions are recognised by the digest of a record without it.
        exclude_if=lambda count: count is None,
        description="How many of them are dark; None: nobody looked, or in older records.",
    )
    lineage: Lineage | None = Field(
        default=None, description="Data, run and code that it was made from; None: unknown."
    )
    pictures: Pictures | None = Field(
        default=None, description="Where candidate and champion disagree; None: not looked at."
    )
    language: Language = Field(
        default=Language.EN, description="In which people are asked; the record is English."
    )
    requested_by: str = Field(description="Who asked for the promotion.")
    reason: str = Field(description="Why it was asked for; '' where nobody said so.")
    forced: bool = Field(description="Whether a failed gate or a quarantine is overridden.")
    evidence_run_id: str = Field(description="The MLflow run that holds this record.")
    time: datetime = Field(description="When it was measured, UTC.")
    policy: ApprovalRule = Field(description="What an approval needs.")
    binding: Binding = Field(description="What an approval holds for, and for nothing else.")

    @property
    def name(self) -> ModelName:
        """The model that was asked for."""
        return ModelName.parse(self.model_name)

    @property
    def digest(self) -> str:
        """sha256 over the whole record: what the ledger remembers of the evidence."""
        return self.digest_as_written()

    @property
    def expires(self) -> datetime:
        """Until when it may be answered, UTC."""
        return expires_at(self.policy, self.time)

    @property
    def overridden(self) -> bool:
        """Whether the gate says no, and who asks overrides it."""
        return self.forced and self.gate.outcome is GateOutcome.FAILED

    @property
    def changes_nothing(self) -> bool:
        """Whether the version is champion already."""
        return not self.moves


def is_in_time(proposal: Proposal, now: datetime) -> bool:
    """Whether an answer of now comes before the question is over, and not long before it began."""
    return proposal.time - _CLOCKS_DIFFER <= now <= proposal.expires


def require_in_time(proposal: Proposal, now: datetime) -> None:
    """Refuse an answer that comes at another time.

    Raises:
        ApprovalExpired: It does.
    """
    if is_in_time(proposal, now):
        return
    if now < proposal.time:
        # Asked by a clock of the future, it would stay open until that future is over.
        raise ApprovalExpired(
            f"{proposal.model_name} version {proposal.version} was asked about at "
            f"{proposal.time:%Y-%m-%d %H:%M} UTC, and here it is {now:%Y-%m-%d %H:%M}: a clock was "
            "wrong, so nobody can say whether the answer comes in time. Nothing was changed.",
            remedy="Set the clocks of the workers right, then ask again: "
            f"`guardianflow promote {proposal.model_name} --request`.",
            asked=proposal.time.isoformat(),
        )
    raise ApprovalExpired(
        f"The approval of {proposal.model_name} version {proposal.version} was to be given "
        f"until {proposal.expires:%Y-%m-%d %H:%M} UTC. Nothing was changed.",
        remedy=f"Ask again: `guardianflow promote {proposal.model_name} --request`.",
        expired=proposal.expires.isoformat(),
    )
