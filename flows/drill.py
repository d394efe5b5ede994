"""The flow `drill`: rehearses a rollback on a worker, and alarms where it would fail."""

from typing import Any

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.parameters import PublicModelName
from flows.publishing import ProgressBar, artifact_key, send_event, show_page, show_table
from flows.registry_access import scenario_registry
from flows.retries import AGAIN, run_token
from guardianflow.errors import Refused
from guardianflow.events import EventName, ModelEvent
from guardianflow.monitoring.drill_report import DrillReport
from guardianflow.names import ModelName
from guardianflow.prefect_api.run_tokens import TokenKind
from guardianflow.wording.markdown import plain, prose


@flow(name="drill", flow_run_name="drill {model_name}")
def drill(model_name: PublicModelName) -> State[Any]:
    """Prove that the way back of a model works, and say how long a rollback would take.

    Every version that a rollback would bring back is fetched, verified, loaded and shown a frame.
    No alias moves. Where it would not work the flow run fails and an alarm is sent.

    Args:
        model_name: customer/region-plant/zone/task, for a variant with __backend_precision behind
            it, e.g. donghwa-entec/busan-plant1/welding/ppe__openvino_int8.
    """
    report: DrillReport | None = None
    try:
        report = rehearse(model_name)
        report.require_success()
    except Refused as refusal:
        champion = refusal.data.get("champion")
        if report:
            champion, _ = report.targets.get(model_name, (None, 0))
        # An alarm, because nobody waits for this flow run.
        send_event(
            EventName.ALARM,
            ModelEvent(
                model=model_name,
                version=champion if isinstance(champion, int) else None,
                incident=run_token(TokenKind.DRILL),
                message=f"{refusal.message} {refusal.remedy}",
            ),
        )
        raise
    get_run_logger().info("%s", report.message)
    return Completed(name="Drilled", message=report.message)


@task(name="rehearse-rollback", retries=3, retry_delay_seconds=10, **AGAIN)
def rehearse(model_name: str) -> DrillReport:
    """Drill, and show the steps whether it worked or not."""
    from guardianflow.monitoring import drill

    registry = scenario_registry()
    try:
        report = drill.drill(registry, ModelName.parse(model_name), on_progress=ProgressBar())
    except Refused as refusal:
        # No rollback could be planned: the page says so, too.
        text = f"{prose(refusal.message)}\n\n{prose(refusal.remedy)}\n"
        show_page(artifact_key("drill", model_name), text, refusal.message)
        raise
    _show(report)
    return report


def _show(report: DrillReport) -> None:
    """Show the steps under the same keys for every drill of a model: that is its history."""
    key = artifact_key("drill", report.model_name)
    lines = [f"**{prose(report.message)}**"]
    lines += [f"note: {prose(warning)}" for warning in report.warnings]
    lines += [
        f"{plain(step.subject)}: {prose(f'{step.problem} {step.remedy}')}"
        for step in report.failures
    ]
    show_page(key, "\n\n".join(lines) + "\n", report.message)
    show_table(
        f"{key}-steps",
        [
            {
                "step": step.step.value,
                "model": step.name,
                "version": step.version,
                "seconds": round(step.seconds, 2),
                "found": step.found if step.ok else f"FAILED: {step.problem}",
            }
            for step in report.steps
        ],
        report.message,
    )
