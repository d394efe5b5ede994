"""Sends events about models to Prefect, where automations react to them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from guardianflow.events import EventName, ModelEvent, resource

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_NAMESPACE = UUID("6f0c1a52-3d0b-5b0e-9b57-6a7d0c0f9e11")


def post_event(
    client: "SyncPrefectClient",
    event: EventName,
    payload: ModelEvent,
    related: Sequence[Mapping[str, str]],
) -> str:
    """Send an event, wait until the server has it, and return its id."""
    # The same event sent again by a retry has the same id: the server counts it once.
    event_id = str(uuid5(_NAMESPACE, f"{event.value} {payload.model_dump_json()}"))
    body = {
        "id": event_id,
        "event": event.value,
        "occurred": payload.time.isoformat(),
        "resource": resource(payload.model),
        "related": [dict(one) for one in related],
        "payload": payload.model_dump(mode="json"),
    }
    client.request("POST", "/events", json=[body])
    return event_id
