"""The events that guardianflow sends: names, resources and the versioned payload.

`prefect_api/control.py` sends them; automations and other systems rely on them (docs/events.md).
An event moves nothing by itself: its receiver reads the report or version that it points to.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from guardianflow.names import ModelName
from guardianflow.wording.printable import printable


class EventName(StrEnum):
    """Every event that guardianflow emits."""

    REGISTERED = "guardianflow.model.registered"
    PROMOTED = "guardianflow.model.promoted"
    ROLLED_BACK = "guardianflow.model.rolled-back"
    EXPIRING = "guardianflow.approval.expiring"
    UNDECIDED = "guardianflow.approval.undecided"
    ALARM = "guardianflow.model.alarm"
    SETTLED = "guardianflow.model.settled"
    HEALTH_FAILING = "guardianflow.health.failing"
    HEALTH_HEALTHY = "guardianflow.health.healthy"
    HEALTH_INCONCLUSIVE = "guardianflow.health.inconclusive"
    CAMERA_FAULT = "guardianflow.camera.fault"


class ModelEvent(BaseModel):
    """The payload of every event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = Field(default=1, description="Version of this payload.")
    model: str = Field(
        description="Public name of the model; empty in an alarm about one of the servers."
    )
    version: int | None = Field(
        description="The version of the model that the event is about; null only in an alarm about "
        "a model without a champion, or about a server."
    )
    incident: str = Field(default="", description="Shared by all events with the same cause.")
    report: str = Field(default="", description="MLflow run that holds the report or evidence.")
    message: Annotated[str, AfterValidator(printable)] = Field(
        default="", description="One sentence for people."
    )
    time: datetime = Field(
        default_factory=lambda: datetime.now(UTC), description="When it happened, UTC."
    )


def resource(model_name: str) -> dict[str, str]:
    """Return the resource of an event about a model, or "" for one of the servers.

    It has the label that automations match on.
    """
    if not model_name:
        return {
            "prefect.resource.id": "guardianflow.server",
            "prefect.resource.name": "MLflow or Prefect server",
        }
    name = ModelName.parse(model_name)
    return {
        "prefect.resource.id": f"guardianflow.model.{name.registered}",
        "prefect.resource.name": name.public,
        "guardianflow.model.name": name.public,
    }
