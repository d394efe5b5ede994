"""What a drill found: its steps, how long a real rollback would take, and the mark that stays.

The mark is one tag on the base's registered model. Only data: `drill.py` does the work.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer

from guardianflow.errors import DrillFailed
from guardianflow.stored import Stored

DRILL_TAG = "guardianflow.drill"
_MARKED_TEXT = 500


class StepName(StrEnum):
    """What is tried, in this order; the middle four for every name that would move."""

    PLAN = "plan"
    VERSION = "version"
    FILES = "files"
    LOAD = "load"
    PREDICT = "predict"
    LEDGER = "ledger"
    WRITE = "write"


@dataclass(frozen=True)
class Step:
    """One thing that was tried.

    Attributes:
        step: What was tried.
        name: Public name of the model.
        version: The version that would come back; None where the step is about none.
        seconds: How long it took.
        found: What was found, in words.
        problem: Why a rollback would fail here; '' when all is well.
        remedy: What helps.
    """

    step: StepName
    name: str
    version: int | None
    seconds: float
    found: str = ""
    problem: str = ""
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether the step succeeded."""
        return not self.problem

    @property
    def subject(self) -> str:
        """The step with what it is about, for messages."""
        version = "" if self.version is None else f" version {self.version}"
        return f"{self.step} of {self.name}{version}"

    def to_json(self) -> dict[str, object]:
        """The step as data, for `--json`."""
        return {**asdict(self), "seconds": round(self.seconds, 4), "ok": self.ok}


@dataclass(frozen=True)
class Estimate:
    """How long a real rollback would take, made of what was measured.

    Attributes:
        plan_s: Reading ledger and aliases and deciding.
        files_s: Fetching the files of every version that would come back, and verifying them.
        writes: How many writes the rollback makes.
        write_s: How long one write took on this server.
    """

    plan_s: float
    files_s: float
    writes: int
    write_s: float

    @property
    def seconds(self) -> float:
        """All parts together."""
        return self.plan_s + self.files_s + self.writes * self.write_s

    def __str__(self) -> str:
        return (
            f"a rollback would take about {self.seconds:.1f} s: {self.plan_s:.2f} s to read and "
            f"decide, {self.files_s:.2f} s to fetch and verify files, {self.writes} writes of "
            f"{1000 * self.write_s:.0f} ms"
        )

    def to_json(self) -> dict[str, object]:
        """The estimate with its parts as data, for `--json`."""
        parts = {key: round(value, 4) for key, value in asdict(self).items()}
        return {"seconds": round(self.seconds, 4), **parts}


@dataclass(frozen=True)
class DrillReport:
    """What a drill found.

    Attributes:
        model_name: Public name of the base or variant that would be rolled back.
        time: When, UTC.
        targets: By public name, which version would leave production and which would come back.
        steps: Everything that was tried.
        estimate: How long a real rollback would take; None where a part could not be measured.
        warnings: What a person should know about the state that the rollback leads to.
    """

    model_name: str
    time: datetime
    targets: Mapping[str, tuple[int | None, int]]
    steps: tuple[Step, ...]
    estimate: Estimate | None = None
    warnings: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[Step, ...]:
        """The steps at which a real rollback would fail."""
        return tuple(step for step in self.steps if not step.ok)

    @property
    def ok(self) -> bool:
        """Whether the way back works."""
        return not self.failures

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
            failures=[step.to_json() for step in self.failures],
            report=self.to_json(),
        )

    def to_json(self) -> dict[str, object]:
        """The report as data, for `--json`."""
        return {
            "model_name": self.model_name,
            "time": self.time.isoformat(timespec="seconds"),
            "ok": self.ok,
            "message": self.message,
            "targets": {
                name: {"from": before, "to": after}
                for name, (before, after) in self.targets.items()
            },
            "steps": [step.to_json() for step in self.steps],
            "estimate": self.estimate.to_json() if self.estimate else None,
            "warnings": list(self.warnings),
        }


class LastDrill(Stored):
    """What the last drill of a release left behind."""

    time: Annotated[AwareDatetime, PlainSerializer(lambda t: t.isoformat(timespec="seconds"))] = (
        Field(description="When, UTC.")
    )
    ok: bool = Field(description="Whether the way back worked.")
    name: str = Field(description="Public name that was drilled.")
    seconds: Annotated[float, PlainSerializer(lambda s: round(s, 3))] | None = Field(
        default=None, description="How long a rollback would take; None if that was not measured."
    )
    problem: Annotated[str, AfterValidator(lambda text: text[:_MARKED_TEXT])] = Field(
        default="", description="What would have stopped it, or ''."
    )
