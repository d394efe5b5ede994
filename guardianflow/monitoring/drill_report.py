"""What a drill found: its steps, how long a real rollback would take, and the mark that stays.

The mark is one tag on the base's registered model. Only data: `drill.py` does the work.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    computed_field,
    field_serializer,
)

from guardianflow.errors import DrillFailed
from guardianflow.stored import Stored

DRILL_TAG = "guardianflow.drill"
_MARKED_TEXT = 500
_Seconds = Annotated[float, PlainSerializer(lambda s: round(s, 4))]
_Time = Annotated[AwareDatetime, PlainSerializer(lambda t: t.isoformat(timespec="seconds"))]


class StepName(StrEnum):
    """What is tried, in this order; the middle four for every name that would move."""

    PLAN = "plan"
    VERSION = "version"
    FILES = "files"
    LOAD = "load"
    PREDICT = "predict"
    LEDGER = "ledger"
    WRITE = "write"


class Step(BaseModel):
    """One thing that was tried."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: StepName = Field(description="What was tried.")
    name: str = Field(description="Public name of the model.")
    version: int | None = Field(description="The version that would come back, if it is about one.")
    seconds: _Seconds = Field(description="How long it took.")
    found: str = Field(default="", description="What was found, in words.")
    problem: str = Field(default="", description="Why a rollback would fail here, or ''.")
    remedy: str = Field(default="", description="What helps.")

    @computed_field
    @property
    def ok(self) -> bool:
        """Whether the step succeeded."""
        return not self.problem

    @property
    def subject(self) -> str:
        """The step with what it is about, for messages."""
        version = "" if self.version is None else f" version {self.version}"
        return f"{self.step} of {self.name}{version}"


class Estimate(BaseModel):
    """How long a real rollback would take, made of what was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan_s: _Seconds = Field(description="Reading ledger and aliases and deciding.")
    files_s: _Seconds = Field(description="Fetching and verifying all files that would come back.")
    writes: int = Field(description="How many writes the rollback makes.")
    write_s: _Seconds = Field(description="How long one write took on this server.")

    @computed_field
    @property
    def seconds(self) -> _Seconds:
        """All parts together."""
        return self.plan_s + self.files_s + self.writes * self.write_s

    def __str__(self) -> str:
        return (
            f"a rollback would take about {self.seconds:.1f} s: {self.plan_s:.2f} s to read and "
            f"decide, {self.files_s:.2f} s to fetch and verify files, {self.writes} writes of "
            f"{1000 * self.write_s:.0f} ms"
        )


class DrillReport(BaseModel):
    """What a drill found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_name: str = Field(description="Public name of what would be rolled back.")
    time: _Time = Field(description="When, UTC.")
    targets: Mapping[str, tuple[int | None, int]] = Field(
        description="By public name, the version that would leave production and the one that "
        "would come back."
    )
    steps: tuple[Step, ...] = Field(description="Everything that was tried.")
    estimate: Estimate | None = Field(
        default=None, description="None where a part of it could not be measured."
    )
    warnings: tuple[str, ...] = Field(
        default=(), description="What people should know about the state after the rollback."
    )

    @property
    def failures(self) -> tuple[Step, ...]:
        """The steps at which a real rollback would fail."""
        return tuple(step for step in self.steps if not step.ok)

    @computed_field
    @property
    def ok(self) -> bool:
        """Whether the way back works."""
        return not self.failures

    @computed_field
    @property
    def message(self) -> str:
        """One sentence for people."""
        back = ", ".join(
            f"{name} to version {after} (from {before or 'none'})"
            for name, (before, after) in sorted(self.targets.items())
        )
        if not self.ok:
            stopped = ", ".join(step.subject for step in self.failures)
            return f"The way back of {self.model_name} would not work: {stopped}."
        return f"The way back of {self.model_name} works: {back}; {self.estimate}."

    def require_success(self) -> None:
        """Refuse to go on where the way back does not work.

        Raises:
            DrillFailed: It names every step that failed, with what helps.
        """
        if self.ok:
            return
        said = " ".join(f"{step.step}: {step.problem}" for step in self.failures)
        raise DrillFailed(
            f"The way back of {self.model_name} would not work. {said}",
            remedy=" ".join(dict.fromkeys(step.remedy for step in self.failures if step.remedy)),
            name=self.model_name,
            failures=[step.model_dump(mode="json") for step in self.failures],
            report=self.model_dump(mode="json"),
        )

    @field_serializer("targets", when_used="json")
    def _from_and_to(
        self, targets: Mapping[str, tuple[int | None, int]]
    ) -> dict[str, dict[str, int | None]]:
        return {name: {"from": before, "to": after} for name, (before, after) in targets.items()}


class LastDrill(Stored):
    """What the last drill of a release left behind."""

    time: _Time = Field(description="When, UTC.")
    ok: bool = Field(description="Whether the way back worked.")
    name: str = Field(description="Public name that was drilled.")
    seconds: Annotated[float, PlainSerializer(lambda s: round(s, 3))] | None = Field(
        default=None, description="How long a rollback would take; None if that was not measured."
    )
    problem: Annotated[str, AfterValidator(lambda text: text[:_MARKED_TEXT])] = Field(
        default="", description="What would have stopped it, or ''."
    )
