"""What is asked of a person before a promotion, and what a person answers."""

import hashlib
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from guardianflow.gate import GateReport, Subject
from guardianflow.registry import Move


class Choice(StrEnum):
    """What a person may answer."""

    APPROVE = "approve"
    REJECT = "reject"


class Answer(BaseModel):
    """A person's answer to a proposal; an answer that was not chosen is never a decision."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    decision: Choice = Field(description="approve or reject; there is no default.")
    approver: str = Field(min_length=2, max_length=100, description="Who decides (declared).")
    reason: str = Field(min_length=3, max_length=500, description="Why.")


class Proposal(BaseModel):
    """What would move, why it may, and the figures that a person decides on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_name: str = Field(description="Public name that was asked for.")
    version: int = Field(description="The version that would become its champion.")
    expected_champion: int | None = Field(description="Its champion when this was measured.")
    moves: tuple[Move, ...] = Field(description="Every alias that would move.")
    warnings: tuple[str, ...] = Field(description="What the person should know besides.")
    subjects: tuple[Subject, ...] = Field(description="Candidate and champion, side by side.")
    gate: GateReport = Field(description="The rules and what they say.")
    headline: str = Field(description="The key figures in one line of plain words.")
    scenario: str = Field(description="Scenario and version that it was trained from, or ''.")
    images: int = Field(description="Frames of the frozen evaluation set.")
    requested_by: str = Field(description="Who asked for the promotion.")
    forced: bool = Field(description="Whether a failed gate or a quarantine is overridden.")
    evidence_run_id: str = Field(description="The MLflow run that holds this record.")
    time: datetime = Field(description="When it was measured, UTC.")

    @property
    def digest(self) -> str:
        """sha256 over the whole record: what the ledger remembers of the evidence."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def changes_nothing(self) -> bool:
        """Whether the version is champion already."""
        return not self.moves
