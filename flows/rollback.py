"""The flow `rollback`: back to the last-known-good release, for a person or an automation.

With a health report it trusts nothing but that report, which it reads again from MLflow, and
sends an alarm where it may not or cannot go back. Without one it is a person's own act and needs a
reason.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

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
from guardianflow.mlflow_store.links import picture_links, run_link
from guardianflow.names import ModelName
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.run_tokens import TokenKind
from guardianflow.registry.release_state import champion_moves
from guardianflow.wording.markdown import Markdown, plain, prose

if TYPE_CHECKING:
    from guardianflow.registry import ModelRegistryManager, Operation


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
        report: MLflow run that holds the failing health report; it is read again. Without one it
            is a person's own act and needs a reason.
        incident: What set this off, e.g. the id of an event.
        reason: Why; it stays in the history.
    """
    if report and failing_version is None:
        raise InputError(
            f"Report {report} came without the version that it speaks against.",
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
            # A person reads why it was refused; an automation does not, and the champion fails on.
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
    tell_of_rollback(operation, incident=incident, report=report, message=message)
    return Completed(name="RolledBack", message=message)


@task(name="answer", retries=2, retry_delay_seconds=3, **AGAIN)
def answer(report: str, message: str) -> None:
    """Remember that a report was answered by a refusal; one that nobody wrote needs no answer."""
    from guardianflow.health.report import note_answer

    with suppress(VersionNotReady):
        note_answer(scenario_registry(), report, message)


@task(name="roll-back", retries=5, retry_delay_seconds=3, **AGAIN)
def roll_back(
    model_name: str, failing_version: int | None, report: str, reason: str
) -> "tuple[Operation | None, str]":
    """Move the aliases back, once however often this is tried, and show what moved.

    Returns:
        The operation of this flow run, None where it changed nothing; and what to say.
    """
    registry = scenario_registry()
    # On a second attempt the operation that is found may well be our own, whose answer was lost.
    first = task_run.run_count <= 1
    before = registry.release(model_name).inspect().head.seq if first else 0
    if report and failing_version is not None:
        from guardianflow.health.reaction import roll_back_failing
        from guardianflow.health.report import note_answer

        reaction = roll_back_failing(registry, model_name, failing_version, report)
        operation, message = reaction.operation, reaction.message
        note_answer(registry, report, message)
    else:
        from guardianflow.registry.rotation.request import UNSET

        operation = registry.rollback(
            model_name,
            expected_champion=UNSET if failing_version is None else failing_version,
            actor="Prefect",
            reason=reason,
            token=run_token(TokenKind.ROLLBACK),
        )
        message = operation.message
    get_run_logger().info("%s", message)
    show_page(artifact_key("rollback", model_name), f"**{prose(message)}**\n", message)
    if operation is None or not operation.changed or operation.seq <= before:
        return None, message
    show_incident(registry, operation, report)
    return operation, message


def tell_of_rollback(
    operation: "Operation", *, incident: str, report: str = "", message: str = ""
) -> None:
    """Send one event for each name that went back; the message is the operation's, unless given."""
    for name, (_, version) in champion_moves(operation.moves).items():
        payload = ModelEvent(
            model=name,
            version=version,
            incident=incident,
            report=report,
            message=message or operation.message,
        )
        send_event(EventName.ROLLED_BACK, payload)


def show_incident(registry: "ModelRegistryManager", operation: "Operation", report: str) -> None:
    """Show the page on a rollback, and keep it beside the report that asked for it."""
    from guardianflow.health.incident import incident_page
    from guardianflow.health.report import keep_page, read_report

    links: dict[str, str] = {}
    if run := flow_run.get_id():
        links["the flow run"] = f"{Orchestrator().ui_url}/runs/flow-run/{run}"
    if report:
        links["the report in MLflow"] = run_link(registry.client, report)
    page = incident_page(
        operation,
        read_report(registry, report) if report else None,
        links,
        picture_links(registry.client, report) if report else {},
    )
    base = ModelName.parse(operation.name).base.public
    # All that is seen of a page that is opened by its key, as the links of messages do.
    about = f"{prose(operation.message)}\n\nWhy: {plain(operation.reason)}"
    show_page(artifact_key("incident", base), page, Markdown(about))
    if report:
        keep_page(registry, report, "incident.md", page)
