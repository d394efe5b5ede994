"""Sends alarms about releases and servers: once, and once more when they are over.

An event is sent before that is remembered: if the process is killed in between, it is sent twice
rather than never.
"""

from collections.abc import Mapping
from typing import assert_never

from prefect import task

from flows.publishing import send_event
from flows.registry_access import scenario_registry
from flows.retries import AGAIN
from flows.rollback import show_incident, tell_of_rollback
from guardianflow.events import EventName, ModelEvent
from guardianflow.monitoring.alarms import AlarmBook, AlarmChange, finding_digest
from guardianflow.monitoring.pass_memory import AlarmTopic, Topic
from guardianflow.registry import Operation


@task(name="tell", retries=2, retry_delay_seconds=3, **AGAIN)
def tell(topic: AlarmTopic, change: AlarmChange, champions: Mapping[str, int]) -> None:
    """Send the new alarms of a release or a server, then remember that they were sent."""
    for finding in change.new:
        send_event(
            EventName.ALARM,
            ModelEvent(
                model=finding.model or change.base,
                version=champions.get(finding.model),
                incident=finding_digest(finding),
                message=f"{finding.message} {finding.remedy}",
            ),
        )
    if change.over:
        send_event(
            EventName.SETTLED,
            ModelEvent(
                model=change.base,
                version=champions.get(change.base),
                message=_over(topic, change.base or server_of(topic)),
            ),
        )
    AlarmBook(scenario_registry().client, topic).write(change)


def server_of(topic: AlarmTopic) -> str:
    """The server that a finding without a model is about."""
    match topic:
        case Topic.RELEASES | Topic.SILENCE:
            return "the MLflow server"
        case Topic.ORCHESTRATOR:
            return "the Prefect server"
        case _:
            assert_never(topic)


def _over(topic: AlarmTopic, about: str) -> str:
    match topic:
        case Topic.SILENCE:
            return f"Reports about {about} come again, or another version is champion."
        case Topic.RELEASES | Topic.ORCHESTRATOR:
            return f"What was reported about {about} is over."
        case _:
            assert_never(topic)


def tell_of_rescue(operation: Operation) -> None:
    """Send an alarm about aliases that were put back, and an event where it was a rollback.

    They may have been moved on purpose: an alias that was moved by hand is put back together with
    one that was missing.
    """
    incident = f"operation-{operation.seq}"
    moves = "; ".join(
        f"@{m.alias} of {m.name} from {m.before or 'none'} to {m.after or 'none'}"
        for m in operation.moves
    )
    alarm = ModelEvent(
        model=operation.name,
        version=operation.after.get(operation.name),
        incident=incident,
        message=f"{operation.message} Moved: {moves or 'nothing'}.",
    )
    send_event(EventName.ALARM, alarm)
    if operation.kind != "rollback":
        return
    # Messages about a rollback link to this page.
    show_incident(scenario_registry(), operation, None)
    tell_of_rollback(operation, incident=incident)
