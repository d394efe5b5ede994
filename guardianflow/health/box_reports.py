"""What an edge box says about its model: posted into MLflow by the box, judged by us.

    box --BoxReport--> experiment guardianflow.health --judge_new--> HealthReport -> event

The box's account may only write in that experiment: it has no password for Prefect and names no
verdict. Judging a report reads the champion, the limits and the history again.
"""

from datetime import UTC, datetime, timedelta
from json import JSONDecodeError
from typing import Annotated

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from pydantic import AwareDatetime, Field, FiniteFloat, field_validator

from guardianflow.errors import ArtifactMissing, InputError, StoredUnreadable
from guardianflow.health.champion_since import champion_since
from guardianflow.health.limits import limits_of
from guardianflow.health.report import (
    BOX_MODEL_TAG,
    HealthReport,
    find_report,
    find_reports,
    past_windows,
    save_report,
)
from guardianflow.health.verdict import WindowFigure, conclude, judge_window
from guardianflow.machine.disk import scratch
from guardianflow.mlflow_store.client import border, is_absent, server_time, write_repeatably
from guardianflow.mlflow_store.records import (
    HEALTH,
    Draft,
    close_record,
    find_record,
    open_record,
    read_record,
)
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from guardianflow.scenario import MetricName, Today, nothing_known
from guardianflow.stored import Stored
from guardianflow.vision.metrics.camera import CameraFault

_JUDGED_TAG = "guardianflow.judged"
_UNFIT = "INVALID_PARAMETER_VALUE"
_IN_ONE_PASS = 100
CLOCK_AHEAD = timedelta(hours=1)
"""How far a box's clock may be ahead. A wrong time zone is more, and so is a wrong year."""


class BoxReport(Stored):
    """Figures of one window of frames as an edge box counted them."""

    model: str = Field(description="Public name of the model that the box runs.")
    version: int = Field(ge=1, description="The version that the box runs.")
    camera: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=80)] = Field(
        description="Which camera or box."
    )
    begin: AwareDatetime = Field(description="When the first frame was taken, with time zone.")
    end: AwareDatetime = Field(description="When the last frame was taken, with time zone.")
    frames: int = Field(ge=0, description="Frames that were examined.")
    objects: int | None = Field(
        default=None, ge=0, description="Labelled objects; null where nobody labelled the frames."
    )
    metrics: dict[MetricName, FiniteFloat] = Field(
        default_factory=dict, max_length=100, description="Figures, by the names of the rules."
    )
    faults: tuple[CameraFault, ...] = Field(
        default=(),
        description="What is wrong with the camera, by guardianflow.vision.metrics.camera.",
    )

    @field_validator("model")
    @classmethod
    def _a_name(cls, value: str) -> str:
        return ModelName.parse(value).public

    @field_validator("begin", "end")
    @classmethod
    def _a_time_in_utc(cls, value: datetime) -> datetime:
        # Kept as it was written: the digest is made of that.
        try:
            value.astimezone(UTC)
        except OverflowError as error:
            raise ValueError("it lies before the year 1 or after the year 9999 in UTC") from error
        return value

    @property
    def name(self) -> ModelName:
        """The model that the box runs."""
        return ModelName.parse(self.model)

    @property
    def digest(self) -> str:
        """sha256 of the report: the same report posted twice counts once."""
        return self.digest_as_written()


def post_report(client: MlflowClient, report: BoxReport, *, now: datetime | None = None) -> str:
    """Store a box's report in MLflow without judging it, and return the run that holds it.

    The same report again changes nothing. The client has the box's own account. Without a time the
    server is asked, since the box's own clock may be wrong.

    Raises:
        PermissionDenied: The account may not write into the experiment guardianflow.health.
        InputError: Its model is not registered, or its times are impossible.
    """
    _check(client, report, now or server_time(client))
    token = f"box-{report.digest[:32]}"
    if done := find_record(client, HEALTH, token):
        return done
    run_id = open_record(client, HEALTH, token, f"box {report.camera} {report.model}")
    with scratch() as folder:
        tags = {BOX_MODEL_TAG: report.model, _JUDGED_TAG: "no"}
        close_record(client, run_id, report, Draft(folder, tags, dict(report.metrics)))
    return run_id


def _check(client: MlflowClient, report: BoxReport, now: datetime) -> None:
    if report.end < report.begin:
        raise InputError(
            f"The report of {report.camera} ends at {report.end.isoformat()}, before it begins at "
            f"{report.begin.isoformat()}.",
            remedy="`begin` is when the first frame was taken, `end` when the last one was.",
            key="end",
        )
    if report.end > now + CLOCK_AHEAD:
        raise InputError(
            f"The report of {report.camera} ends at {report.end.isoformat()}, in the future: "
            f"the MLflow server has {now.isoformat(timespec='seconds')}.",
            remedy="Correct the clock and the time zone of the box, then report again.",
            key="end",
        )
    try:
        client.get_registered_model(report.name.registered)
    except MlflowException as error:
        # An account that may not read models may still report.
        if is_absent(error):
            raise InputError(
                f"No model {report.model} is registered.",
                remedy="`guardianflow models` lists those that are; correct the report's `model`.",
                key="model",
            ) from error


def judge_new(registry: ModelRegistryManager, today: Today = nothing_known) -> list[HealthReport]:
    """Judge what boxes posted since the last pass, the oldest first.

    A report that cannot be read, judged or stored, or is not about a champion, is set aside, so
    that it holds up no other. Where the champion's scenario cannot be read, the verdict says which
    limits were used. `today` looks up scenarios as they are now: their limits count.
    """
    client = registry.client
    judged: list[HealthReport] = []
    for run in _unjudged(client, _IN_ONE_PASS):
        run_id = run.info.run_id
        try:
            report = _judge(registry, read_record(client, run_id, BoxReport), run_id, today)
            said = report.report_id if report else "about no champion"
        except (ArtifactMissing, StoredUnreadable) as error:
            report, said = None, error.message
        except (OverflowError, ValueError, MlflowException) as error:
            if not _is_its_own_fault(error):
                raise
            report, said = None, f"It cannot be judged: {error}"
        if report:
            judged.append(report)
        _set_aside(client, run_id, said)
    return judged


def _is_its_own_fault(error: Exception) -> bool:
    """Whether the box's report is at fault, not the server: then trying again changes nothing.

    A server's answer that is not JSON is a ValueError, too; a report that is not JSON never gets
    here, because `read_record` refuses it.
    """
    if isinstance(error, MlflowException):
        return error.error_code == _UNFIT
    return not isinstance(error, JSONDecodeError)


def next_unjudged(client: MlflowClient) -> str | None:
    """The MLflow run of a report that waits to be judged, or None."""
    return next((run.info.run_id for run in _unjudged(client, 1)), None)


def _unjudged(client: MlflowClient, limit: int) -> list[Run]:
    """Reports that were not judged yet, the oldest first."""
    return find_reports(client, {_JUDGED_TAG: "no"}, oldest=True, limit=limit)


def _set_aside(client: MlflowClient, run_id: str, said: str) -> None:
    with border(f"report {run_id}"):
        write_repeatably(lambda: client.set_tag(run_id, _JUDGED_TAG, said[:500]))


def _judge(
    registry: ModelRegistryManager, box: BoxReport, posted: str, today: Today
) -> HealthReport | None:
    """Judge a box's report and store the result; None if its version is not champion."""
    token = f"judged-{posted}"
    if done := find_report(registry.client, token):
        return done
    champion = registry.get_champion(box.name)
    if champion is None or champion.version != box.version:
        return None
    return save_report(registry.client, token, _report(registry, box, champion, today))


def _report(
    registry: ModelRegistryManager, box: BoxReport, champion: RegisteredModelInfo, today: Today
) -> HealthReport:
    """The report to store, still without its id."""
    since = champion_since(registry, box.name, box.version)
    limits = limits_of(registry, champion, today)
    policy = limits.policy
    figures = {metric: WindowFigure(value=value) for metric, value in box.metrics.items()}
    rules = [rule for rule in policy.rules if rule.metric in figures]
    own = judge_window(
        policy, rules, figures, images=box.frames, objects=box.objects, faults=box.faults
    )
    past = past_windows(registry.client, box.name, box.version, box.camera, since=since.installed)
    concluded, row = conclude(own, policy, box.digest, past)
    begin, end = box.begin.astimezone(UTC), box.end.astimezone(UTC)
    return HealthReport(
        model_name=box.model,
        version=box.version,
        camera=box.camera,
        window=f"{begin:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC",
        window_fingerprint=box.digest,
        evaluation=None,
        figures=figures,
        faults=box.faults,
        policy=policy,
        window_verdict=own.verdict,
        in_a_row=row,
        verdict=concluded.verdict,
        reason=concluded.reason + limits.remark,
        report_id="",
        # When the frames were taken counts, not when they were judged.
        time=min(end, datetime.now(UTC)),
        operation=since.newest,
    )
