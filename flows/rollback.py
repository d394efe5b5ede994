"""The flow `rollback`: back to the last-known-good release, for a person or an automation.

With a health report it trusts only that report, read from MLflow, and sends an alarm where the
rollback is refused. Without a report it is a person's decision and needs a reason.
"""

from contextlib import suppress
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run, task_run
from prefect.states import Completed

from flows.parameters import ModelVersion, PublicModelName, ReportId, Text
from flows.publishing import artifact_key, send_event, show_page
from flows.registry_access import scenario_registry
from flows.retries import AGAIN, run_token
from guardianflow.errors import InputError, Refused, VersionNotReady
from guardianflow.events import EventName, ModelEvent
from guardianflow.health.incident import incident_page
from guardianflow.health.reaction import Reaction, roll_back_failing
from guardianflow.health.report import HealthReport, keep_page, note_answer, read_report
from guardianflow.mlflow_store.links import picture_links, run_link
from guardianflow.names import ModelName
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.run_tokens import TokenKind
from guardianflow.registry import UNSET, ModelRegistryManager, Operation
from guardianflow.registry.release_state import champion_moves
from guardianflow.wording.markdown import Markdown, plain, prose


@flow(name="rollback", flow_run_name="rollback {model_name}")
def rollback(
    model_name: PublicModelName,
    failing_version: ModelVersion | None = None,
    report: ReportId = "",
    incident: Text = "",
    reason: Text = "",
) -> State[Any]:
    """Go back to the last-known-good release of a model.

    A repeated or late request changes nothing and says so. Where a health report asks for what
    is refused, the flow run fails and an alarm is sent.

    Args:
        model_name: customer/region-plant/zone/task, for a variant with __backend_precision behind
            it, e.g. donghwa-entec/busan-plant1/welding/ppe__openvino_int8.
        failing_version: The champion that failed; another champion is left alone.
        report: MLflow run that holds the failing health report. Without one the rollback is a
            person's decision and needs a reason.
        incident: What caused this, e.g. the id of an event.
        reason: Why; it stays in the history.
    """
    if report and failing_version is None:
        raise InputError(
            f"Report {report} came without the version that it is about.",
            remedy="Give failing_version beside report.",
        )
    if not report and len(reason.strip()) < 3:
        raise InputError(
            "A rollback without a health report needs a reason.", remedy="Fill in the reason."
        )
    try:
        operation, message = roll_back(model_name, failing_version, report, reason)
    except Refused as refusal:
        if report:
            answer(report, refusal.message)
            # Nobody reads the refusal of an automation, and the champion still fails.
            send_event(
                EventName.ALARM,
                ModelEvent(
                    model=model_name,
                    version=failing_version,
                    incident=incident or report,
                    report=report,
                    message=str(refusal),
                ),
            )
        raise
    if operation is None:
        return Completed(name="NothingToDo", message=message)
    tell_of_rollback(operation, incident=incident, report_id=report, message=message)
    return Completed(name="RolledBack", message=message)


@task(name="answer", retries=2, retry_delay_seconds=3, **AGAIN)
def answer(report_id: str, message: str) -> None:
    """Remember that a report led to a refusal; a report that does not exist needs no answer."""
    with suppress(VersionNotReady):
        note_answer(scenario_registry(), report_id, message)


@task(name="roll-back", retries=5, retry_delay_seconds=3, **AGAIN)
def roll_back(
    model_name: str, failing_version: int | None, report_id: str, reason: str
) -> tuple[Operation | None, str]:
    """Move the aliases back, once however often this is tried, and show what moved.

    Returns:
        The operation, None where this flow run changed nothing; and the message for people.
    """
    registry, name = scenario_registry(), ModelName.parse(model_name)
    # On a second attempt the newest operation may be our own, whose answer was lost.
    before = registry.ledger(name).read().seq if task_run.run_count <= 1 else 0
    if report_id and failing_version is not None:
        reaction = roll_back_failing(registry, name, failing_version, report_id)
        note_answer(registry, report_id, reaction.message)
    else:
        done = registry.rollback(
            name,
            expected_champion=UNSET if failing_version is None else failing_version,
            actor="Prefect",
            reason=reason,
            token=run_token(TokenKind.ROLLBACK),
        )
        reaction = Reaction(done, done.message)
    operation, message = reaction.operation, reaction.message
    get_run_logger().info("%s", message)
    show_page(artifact_key("rollback", model_name), f"**{prose(message)}**\n", message)
    if operation is None or not operation.changed or operation.seq <= before:
        return None, message
    report = reaction.report or (read_report(registry, report_id) if report_id else None)
    show_incident(registry, operation, report)
    return operation, message


def tell_of_rollback(
    operation: Operation, *, incident: str, report_id: str = "", message: str = ""
) -> None:
    """Send one event for each model that went back; by default with the operation's message."""
    for name, (_, version) in champion_moves(operation.moves).items():
        payload = ModelEvent(
            model=name,
            version=version,
            incident=incident,
            report=report_id,
            message=message or operation.message,
        )
        send_event(EventName.ROLLED_BACK, payload)


def show_incident(
    registry: ModelRegistryManager, operation: Operation, report: HealthReport | None
) -> None:
    """Show the page on a rollback, and store it with the report that asked for it."""
    links: dict[str, str] = {}
    pictures: dict[str, str] = {}
    if run := flow_run.get_id():
        links["the flow run"] = f"{Orchestrator().ui_url}/runs/flow-run/{run}"
    if report:
        links["the report in MLflow"] = run_link(registry.client, report.report_id)
        pictures = picture_links(registry.client, report.report_id)
    page = incident_page(operation, report, links, pictures)
    base = ModelName.parse(operation.name).base.public
    # Links in messages open a page by its key, which shows only its description.
    about = f"{prose(operation.message)}\n\nWhy: {plain(operation.reason)}"
    show_page(artifact_key("incident", base), page, Markdown(about))
    if report:
        keep_page(registry, report.report_id, "incident.md", page)
