"""The flow `check-health`: a champion on recent labelled frames -> report -> event."""

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.connection import connect, picture_links, run_link, run_token, worth_retrying
from flows.parameters import Folder, PublicModelName, Text
from flows.publishing import artifact_key, send_event, show_page, show_pictures, show_table
from guardianflow.events import EventName, ModelEvent

_EVENTS = {
    "HEALTHY": EventName.HEALTH_HEALTHY,
    "FAILING": EventName.HEALTH_FAILING,
    "INCONCLUSIVE": EventName.HEALTH_INCONCLUSIVE,
}


@flow(name="check-health", flow_run_name="check-health {model_name}")
def check_health(model_name: PublicModelName, window: Folder, incident: Text = "") -> str:
    """Measure @champion on a window of recent labelled frames and say how it does.

    It moves nothing: a failing report is an event, on which the automation starts `rollback`.

    Args:
        model_name: customer/region-plant/zone/task, for a variant with __backend_precision behind
            it, e.g. donghwa-entec/busan-plant1/welding/ppe__openvino_int8.
        window: Folder with recent labelled frames (YOLO, split test), as a worker sees it.
        incident: What this belongs to; without it the report's id.

    Returns:
        HEALTHY, FAILING or INCONCLUSIVE.
    """
    event = measure(model_name, window)
    verdict: str = event.pop("verdict")
    payload = ModelEvent(**event, incident=incident or event["report"])
    send_event(_EVENTS[verdict], payload)
    return verdict


@task(
    name="measure-window",
    retries=3,
    retry_delay_seconds=10,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def measure(model_name: str, window: str) -> dict[str, Any]:
    """Measure, keep the report in MLflow and show it."""
    from guardianflow import health

    registry = connect()
    report = health.check_health(registry, model_name, Path(window), token=run_token("health"))
    message = f"{report.model_name} version {report.version} is {report.verdict}: {report.reason}"
    get_run_logger().info("%s", message)
    key = artifact_key("health", report.model_name)
    show_page(
        key,
        f"**{message}**\n\n[report in MLflow]({run_link(registry, report.report_id)})\n",
        message,
    )
    show_table(
        f"{key}-classes",
        [
            {"class": label, **figures.model_dump()}
            for label, figures in report.evaluation.per_class.items()
        ],
        f"Per class, on {window}.",
    )
    show_pictures(key, picture_links(registry, report.report_id))
    return {
        "verdict": report.verdict.value,
        "model": report.model_name,
        "version": report.version,
        "report": report.report_id,
        "message": message,
    }
