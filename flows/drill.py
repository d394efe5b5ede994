"""The flow `drill`: rehearses a rollback on a worker, moves nothing, alarms where it would fail."""

from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.parameters import PublicModelName
from flows.publishing import ProgressBar, artifact_key, send_event, show_page, show_table
from flows.registry_access import scenario_registry
from flows.retries import AGAIN, run_token
from guardianflow.errors import DrillFailed, Refused
from guardianflow.events import EventName, ModelEvent
from guardianflow.prefect_api.run_tokens import TokenKind
from guardianflow.wording.markdown import plain, prose

if TYPE_CHECKING:
    from guardianflow.monitoring.drill_report import DrillReport


@flow(name="drill", flow_run_name="drill {model_name}")
def drill(model_name: PublicModelName) -> State[Any]:
    """Prove that the way back of a model works, and say how long a rollback would take.

    Every version that a rollback would bring back is fetched, verified, loaded and shown a frame.
    No alias moves. Where it would not work the flow run fails and an alarm is sent.

    Args:
        model_name: customer/region-plant/zone/task, for a variant with __backend_precision behind
            it, e.g. donghwa-entec/busan-plant1/welding/ppe__openvino_int8.
    """
    try:
        message = rehearse(model_name)
    except Refused as refusal:
        # Found on a quiet day, and to be mended on it: nobody waits for this flow run.
        send_event(
            EventName.ALARM,
            ModelEvent(
                model=model_name,
                version=_champion(model_name, refusal),
                incident=run_token(TokenKind.DRILL),
                message=f"{refusal.message} {refusal.remedy}",
            ),
        )
        raise
    return Completed(name="Drilled", message=message)


@task(name="rehearse-rollback", retries=3, retry_delay_seconds=10, **AGAIN)
def rehearse(model_name: str) -> str:
    """Drill, and show the steps whether it worked or not.

    Returns:
        What was found, in one sentence.
    """
    from guardianflow.monitoring import drill

    registry = scenario_registry()
    try:
        report = drill.drill(registry, model_name, on_progress=ProgressBar())
    except DrillFailed as failed:
        _show(failed.report)
        raise
    except Refused as refusal:
        # No way back, or none that could be planned: the page says so too.
        text = f"{prose(refusal.message)}\n\n{prose(refusal.remedy)}\n"
        show_page(artifact_key("drill", model_name), text, refusal.message)
        raise
    _show(report)
    get_run_logger().info("%s", report.message)
    return report.message


def _champion(model_name: str, refusal: Refused) -> int | None:
    """The version that could not be rolled back, as far as the refusal says it."""
    if isinstance(refusal, DrillFailed):
        return refusal.report.targets.get(model_name, (None, 0))[0]
    champion = refusal.data.get("champion")
    return champion if isinstance(champion, int) else None


def _show(report: "DrillReport") -> None:
    """The same page and table for every drill of a model: their versions are its history."""
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
