"""The health report: a record in MLflow, found by its tags without a download."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from pydantic import BaseModel, ConfigDict, Field

from guardianflow.health.verdict import PastWindow, Verdict, WindowFigure
from guardianflow.machine.disk import scratch
from guardianflow.mlflow_store.client import border, write_repeatably
from guardianflow.mlflow_store.records import (
    COMPLETE_TAG,
    HEALTH,
    Draft,
    close_record,
    find_record,
    open_record,
    read_record,
)
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import HealthPolicy
from guardianflow.stored import Stored
from guardianflow.vision.metrics.camera import CameraFault
from guardianflow.vision.metrics.evaluation import Evaluation

NAME_TAG = "guardianflow.name"
VERSION_TAG = "guardianflow.version"
VERDICT_TAG = "guardianflow.verdict"
"""What a report is about, so that most events need no download."""
CAMERA_TAG = "guardianflow.camera"
WINDOW_VERDICT_TAG = "guardianflow.window_verdict"
FINGERPRINT_TAG = "guardianflow.window_fingerprint"
WINDOW_TAG = "guardianflow.window"
REASON_TAG = "guardianflow.reason"
"""The window and the reason, for `health show`; older reports lack both tags."""
OPERATION_TAG = "guardianflow.operation"
BOX_MODEL_TAG = "guardianflow.box_model"
"""The model that a box names, before the report is judged."""
ANSWER_TAG = "guardianflow.answer"
"""What followed from a failing report; absent until something did."""
_LOOKED_BACK = 200
_TAG_LENGTH = 1000
_DIGITS = 18
_LAST_MS = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp() * 1000)


class Fallback(BaseModel):
    """How the version that a rollback would bring back did on the same frames."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(description="The last-known-good version of the model.")
    value: float = Field(description="The figure that failed, of this version.")
    better: bool = Field(description="Whether it is surely better than the failing champion.")
    message: str = Field(description="One sentence for people.")


class HealthReport(Stored):
    """How a champion did on one window of frames."""

    model_name: str = Field(description="Public name of the model.")
    version: int = Field(description="The champion that was measured.")
    camera: str = Field(default="", description="Which camera or box; '' where nobody says.")
    window: str = Field(description="Where the frames are, or when they were taken.")
    window_fingerprint: str = Field(description="sha256 over the frames and labels, or figures.")
    evaluation: Evaluation | None = Field(description="Figures of labelled frames.")
    figures: dict[str, WindowFigure] = Field(description="What the rules judge.")
    faults: tuple[CameraFault, ...] = Field(
        default=(), description="What is wrong with the camera."
    )
    policy: HealthPolicy = Field(description="The limits that were applied.")
    window_verdict: Verdict = Field(description="What this window says by itself.")
    in_a_row: int = Field(default=0, description="Failing windows in a row, this one with them.")
    fallback: Fallback | None = Field(
        default=None, description="The way back on the same frames, where a window failed."
    )
    verdict: Verdict = Field(description="HEALTHY, FAILING or INCONCLUSIVE.")
    reason: str = Field(description="One sentence for people.")
    report_id: str = Field(description="The MLflow run that holds this report.")
    time: datetime = Field(description="When it was measured, UTC.")
    operation: int | None = Field(
        default=None,
        description="Number of the newest operation of the release when measuring began: it tells "
        "what came first without any clock. None where the account may not read the ledger.",
    )

    @property
    def subject(self) -> str:
        """The model with its version, as people say it."""
        return f"{self.model_name} version {self.version}"

    @property
    def message(self) -> str:
        """How the champion does, and why, in one sentence."""
        return f"{self.subject} is {self.verdict}: {self.reason}"

    def tags(self) -> dict[str, str]:
        """What its MLflow run says about it."""
        return {
            NAME_TAG: self.model_name,
            VERSION_TAG: str(self.version),
            CAMERA_TAG: self.camera,
            VERDICT_TAG: self.verdict.value,
            WINDOW_VERDICT_TAG: self.window_verdict.value,
            FINGERPRINT_TAG: self.window_fingerprint,
            WINDOW_TAG: self.window[:_TAG_LENGTH],
            REASON_TAG: self.reason[:_TAG_LENGTH],
            OPERATION_TAG: "" if self.operation is None else str(self.operation),
        }

    def metrics(self) -> dict[str, float]:
        """The figures as metrics of its run."""
        counted = {}
        if self.evaluation:
            counted = {"images": self.evaluation.images, "objects": self.evaluation.objects}
        return {**{key: one.value for key, one in self.figures.items()}, **counted}


def read_report(registry: ModelRegistryManager, report: str) -> HealthReport:
    """Read a stored report by its MLflow run id.

    Raises:
        ArtifactMissing: There is no such complete report.
    """
    return read_record(registry.client, report, HealthReport)


def find_report(client: MlflowClient, token: str) -> HealthReport | None:
    """The report that was kept with a token, or None."""
    done = find_record(client, HEALTH, token)
    return read_record(client, done, HealthReport) if done else None


def save_report(
    client: MlflowClient,
    token: str,
    report: HealthReport,
    draw: Callable[[Path], None] = lambda _folder: None,
) -> HealthReport:
    """Keep a report as a record in MLflow that `find_report` finds; return it with its id.

    `draw` writes pictures into a folder; they are kept with the report.
    """
    run_id = open_record(client, HEALTH, token, f"health {report.model_name} {report.version}")
    report = report.model_copy(update={"report_id": run_id})
    with scratch() as folder:
        draw(folder)
        close_record(client, run_id, report, Draft(folder, report.tags(), report.metrics()))
    return report


def past_windows(
    client: MlflowClient, name: ModelName, version: int, camera: str, *, since: int | None
) -> Iterator[PastWindow]:
    """The windows of a champion from one camera, the newest first.

    `since` is the number of the operation that made it champion: older windows do not count, for it
    may have been fixed in between. None takes them all.
    """
    for run in find_reports(
        client, {NAME_TAG: name.public, VERSION_TAG: str(version), CAMERA_TAG: camera}
    ):
        tags = run.data.tags
        known = number_in(run, OPERATION_TAG)
        if since is not None and known is not None and known < since:
            return
        said = tags.get(WINDOW_VERDICT_TAG, "")
        if said in set(Verdict):
            yield PastWindow(tags.get(FINGERPRINT_TAG, ""), Verdict(said))


def newest_report_time(
    client: MlflowClient, name: ModelName, *, until: datetime | None = None
) -> datetime | None:
    """The time, UTC, of the newest report about any version of a model; None without one.

    It is what the clock of the reporting machine said, which may be wrong. Reports later than
    `until` do not count.
    """
    return max(_report_times(client, name, until=until), default=None)


def oldest_report_time(
    client: MlflowClient, name: ModelName, *, since: datetime
) -> datetime | None:
    """The time of the oldest report from `since` on, as in `newest_report_time`."""
    return min(_report_times(client, name, since=since, oldest=True), default=None)


def _report_times(client: MlflowClient, name: ModelName, **window: Any) -> list[datetime]:
    """The time of the first report that boxes posted in a window, and of the first judged one."""
    tags = ({NAME_TAG: name.public}, {BOX_MODEL_TAG: name.public})
    return [
        report_time(run) for tag in tags for run in find_reports(client, tag, limit=1, **window)
    ]


def report_time(run: Run) -> datetime:
    """When a report was made, UTC, by the clock of the reporting machine.

    A box may write any number there; one that is not a date becomes the nearest date.
    """
    return datetime.fromtimestamp(min(max(run.info.start_time, 0), _LAST_MS) / 1000, UTC)


def number_in(run: Run, tag: str) -> int | None:
    """The number in a tag of a report, or None."""
    text = run.data.tags.get(tag, "")
    return int(text) if text.isdecimal() and len(text) <= _DIGITS else None


def find_reports(
    client: MlflowClient,
    tags: dict[str, str],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    oldest: bool = False,
    limit: int = _LOOKED_BACK,
) -> list[Run]:
    """The runs of complete reports with these tags, the newest first, or the oldest."""
    wanted = {COMPLETE_TAG: "true", **tags}
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in wanted.items() if value)
    for bound, sign in ((since, ">="), (until, "<=")):
        if bound:
            query += f" and attributes.start_time {sign} {int(bound.timestamp() * 1000)}"
    with border("health reports"):
        known = client.get_experiment_by_name(HEALTH)
        if known is None:
            return []
        found = client.search_runs(
            [known.experiment_id],
            query,
            max_results=limit,
            order_by=[f"attributes.start_time {'ASC' if oldest else 'DESC'}"],
        )
    # MLflow finds no empty tag: those are compared here.
    empty = [key for key, value in wanted.items() if not value]
    return [run for run in found if not any(run.data.tags.get(key) for key in empty)]


def note_answer(registry: ModelRegistryManager, report: str, answer: str) -> None:
    """Remember what followed from a failing report, so that no pass handles it again."""
    with border(f"answer to report {report}"):
        write_repeatably(lambda: registry.client.set_tag(report, ANSWER_TAG, answer[:500]))


def keep_page(registry: ModelRegistryManager, report: str, name: str, page: str) -> None:
    """Store a page with a report; the same page again changes nothing."""
    with border(f"{name} of report {report}"):
        write_repeatably(lambda: registry.client.log_text(report, page, name))
