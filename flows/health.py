"""The flow `check-health`: a champion on recent labelled frames -> report -> event."""

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task

from flows.parameters import CameraName, Folder, PublicModelName, Text
from flows.publishing import artifact_key, send_event, show_page, show_pictures, show_table
from flows.registry_access import scenario_registry
from flows.retries import AGAIN, run_token
from flows.scenario_blocks import limits_in_blocks
from guardianflow.events import EventName, ModelEvent
from guardianflow.health.report import HealthReport
from guardianflow.mlflow_store.links import picture_links, run_link
from guardianflow.names import ModelName
from guardianflow.prefect_api.run_tokens import TokenKind
from guardianflow.wording.markdown import prose

_EVENTS = {
    "HEALTHY": EventName.HEALTH_HEALTHY,
    "FAILING": EventName.HEALTH_FAILING,
    "INCONCLUSIVE": EventName.HEALTH_INCONCLUSIVE,
}


@flow(name="check-health", flow_run_name="check-health {model_name}")
def check_health(
    model_name: PublicModelName, window: Folder, incident: Text = "", camera: CameraName = ""
) -> str:
    """Measure @champion on a window of recent labelled frames and say how it does.

    It moves nothing: a failing report is an event, on which the automation starts `rollback`. A
    faulty camera is an event of its own, and no model is blamed.

    Args:
        model_name: customer/region-plant/zone/task, for a variant with __backend_precision behind
            it, e.g. donghwa-entec/busan-plant1/welding/ppe__openvino_int8.
        window: Folder with recent labelled frames (YOLO, split test), as a worker sees it.
        incident: What this belongs to; without it the report's id.
        camera: Which camera took the frames; failing windows in a row are counted by camera.

    Returns:
        HEALTHY, FAILING or INCONCLUSIVE.
    """
    told = measure_window(model_name, window, camera)
    tell_of_health(told, incident)
    return told["verdict"]


def tell_of_health(told: dict[str, Any], incident: str = "") -> None:
    """Send the event of a report: what ails the camera, or how the champion does."""
    event = EventName.CAMERA_FAULT if told["faulty"] else _EVENTS[told["verdict"]]
    payload = {key: told[key] for key in ("model", "version", "report", "message")}
    send_event(event, ModelEvent(**payload, incident=incident or told["report"]))


def event_values(report: HealthReport) -> dict[str, Any]:
    """What an event says about a report, in plain values."""
    return {
        "verdict": report.verdict.value,
        "faulty": bool(report.faults),
        "model": report.model_name,
        "version": report.version,
        "report": report.report_id,
        "message": f"{report.subject} is {report.verdict}: {report.reason}",
    }


@task(name="measure-window", retries=3, retry_delay_seconds=10, **AGAIN)
def measure_window(model_name: str, window: str, camera: str) -> dict[str, Any]:
    """Measure, keep the report in MLflow and show it."""
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
    told = event_values(report)
    message = told["message"]
    get_run_logger().info("%s", message)
    key = artifact_key("health", report.model_name)
    link = run_link(registry.client, report.report_id)
    show_page(key, f"**{prose(message)}**\n\n[report in MLflow]({link})\n", message)
    show_table(
        f"{key}-figures",
        [
            {"figure": metric, **figure.model_dump()}
            for metric, figure in sorted(report.figures.items())
        ],
        f"On {window}; low and high hold with {report.policy.confidence:.0%} confidence each.",
    )
    show_pictures(key, picture_links(registry.client, report.report_id))
    return told
