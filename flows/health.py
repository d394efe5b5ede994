"""The flow `check-health`: a champion on recent labelled frames -> report -> event."""

from pathlib import Path
from typing import assert_never

from mlflow import MlflowClient
from prefect import flow, get_run_logger, task

from flows.parameters import CameraName, Folder, PublicModelName, Text
from flows.publishing import artifact_key, send_event, show_page, show_pictures, show_table
from flows.registry_access import scenario_registry
from flows.retries import AGAIN, run_token
from flows.scenario_blocks import limits_in_blocks
from guardianflow.events import EventName, ModelEvent
from guardianflow.health.report import HealthReport
from guardianflow.health.verdict import Verdict
from guardianflow.mlflow_store.links import picture_links, run_link
from guardianflow.names import ModelName
from guardianflow.prefect_api.run_tokens import TokenKind
from guardianflow.wording.markdown import prose


@flow(name="check-health", flow_run_name="check-health {model_name}")
def check_health(
    model_name: PublicModelName, window: Folder, incident: Text = "", camera: CameraName = ""
) -> str:
    """Measure @champion on a window of recent labelled frames and report its health.

    It moves nothing: a failing report sends an event, and the automation then starts `rollback`. A
    faulty camera sends another event, and no model is blamed.

    Args:
        model_name: customer/region-plant/zone/task, for a variant with __backend_precision behind
            it, e.g. donghwa-entec/busan-plant1/welding/ppe__openvino_int8.
        window: Folder with recent labelled frames (YOLO, split test), by its path on the worker.
        incident: Id of the incident that this belongs to; without it the report's id.
        camera: Which camera took the frames; failing windows in a row are counted by camera.

    Returns:
        HEALTHY, FAILING or INCONCLUSIVE.
    """
    report = measure_window(model_name, window, camera)
    tell_of_health(report, incident)
    return report.verdict.value


def tell_of_health(report: HealthReport, incident: str = "") -> None:
    """Send the event of a report: what is wrong with the camera, or how the champion does."""
    payload = ModelEvent(
        model=report.model_name,
        version=report.version,
        report=report.report_id,
        message=report.message,
        incident=incident or report.report_id,
    )
    send_event(EventName.CAMERA_FAULT if report.faults else _event_of(report.verdict), payload)


def _event_of(verdict: Verdict) -> EventName:
    match verdict:
        case Verdict.HEALTHY:
            return EventName.HEALTH_HEALTHY
        case Verdict.FAILING:
            return EventName.HEALTH_FAILING
        case Verdict.INCONCLUSIVE:
            return EventName.HEALTH_INCONCLUSIVE
        case _:
            assert_never(verdict)


def show_report(client: MlflowClient, report: HealthReport) -> None:
    """Show what a report says, with a link to it."""
    link = run_link(client, report.report_id)
    page = f"**{prose(report.message)}**\n\n[report in MLflow]({link})\n"
    show_page(artifact_key("health", report.model_name), page, report.message)


@task(name="measure-window", retries=3, retry_delay_seconds=10, **AGAIN)
def measure_window(model_name: str, window: str, camera: str) -> HealthReport:
    """Measure, keep the report in MLflow and show it."""
    # The libraries for images come with it.
    from guardianflow.health import window as windows

    registry = scenario_registry()
    report = windows.check_health(
        registry,
        ModelName.parse(model_name),
        Path(window),
        token=run_token(TokenKind.HEALTH),
        camera=camera,
        today=limits_in_blocks,
    )
    get_run_logger().info("%s", report.message)
    show_report(registry.client, report)
    key = artifact_key("health", report.model_name)
    show_table(
        f"{key}-figures",
        [
            {"figure": metric, **figure.model_dump()}
            for metric, figure in sorted(report.figures.items())
        ],
        f"On {window}; low and high hold with {report.policy.confidence:.0%} confidence each.",
    )
    show_pictures(key, picture_links(registry.client, report.report_id))
    return report
