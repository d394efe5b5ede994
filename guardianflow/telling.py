"""What people are told, as data: which events make a message, its words and its link.

`deployments/automations.py` makes automations of it on the Prefect server.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from guardianflow.events import EventName

ROLLBACK_AUTOMATION = "guardianflow roll back on failing health"
"""The one that acts (prefect.yaml); all others only tell."""
STATUS_PAGE = "guardianflow-status"
"""Key of the page that says what runs where."""
BURST_S = 30
"""What comes again within this time is one message; 0 would send one for each event."""
_CAMERA_S = 3600
_RUN = "related:flow-run:prefect.resource.id"
_MODEL = "{{ event.payload.model or 'the MLflow server' }}"
_SAID = "{{ event.payload.message }}"
_FLOW_RUN = "<ui>/runs/flow-run/{{ flow_run.id }}"
_STATUS = f"<ui>/artifacts/key/{STATUS_PAGE}"
_MODELS = ("guardianflow.model.*", "guardianflow.server")


@dataclass(frozen=True)
class Told:
    """One kind of message.

    Attributes:
        name: Name of the automation.
        description: When it tells, for the Prefect UI.
        expect: The events that it tells of.
        resources: Ids of the resources that it is about.
        subject: First line; what stands in double braces is filled in by the Prefect server.
        body: The message with its link; `<ui>` is the address of the Prefect UI.
        for_each: Labels: what differs in one of them is another message.
        related: What the event has to be related to, by label.
        within: Seconds in which a repetition is not told again.
    """

    name: str
    description: str
    expect: tuple[str, ...]
    resources: tuple[str, ...]
    subject: str
    body: str
    for_each: tuple[str, ...] = ("prefect.resource.id",)
    related: Mapping[str, str] = field(default_factory=dict[str, str])
    within: int = BURST_S


TOLD = (
    Told(
        name="guardianflow tell of a waiting approval",
        description="A promotion waits for a person.",
        expect=("prefect.flow-run.Suspended",),
        resources=("prefect.flow-run.*",),
        related={"prefect.resource.role": "flow", "prefect.resource.name": "promote"},
        subject="Please decide: {{ flow_run.parameters.model_name }}",
        body="A new version of {{ flow_run.parameters.model_name }} waits for your decision. "
        "{{ flow_run.labels['guardianflow.headline'] }}\n\n"
        f"Read what changes and decide (Resume): {_FLOW_RUN}",
    ),
    Told(
        name="guardianflow tell of an approval that ended",
        description="A question about a promotion is over and nobody decided.",
        expect=(EventName.UNDECIDED,),
        resources=_MODELS,
        subject=f"Nobody decided about {_MODEL}",
        body=f"{_SAID}\n\nWhat runs now goes on running. What was asked: "
        "<ui>/runs/flow-run/{{ event.payload.incident }}\nAsk again: "
        "guardianflow promote {{ event.payload.model }} --request",
    ),
    Told(
        name="guardianflow tell of a rollback",
        description="A release went back to its last-known-good version.",
        expect=(EventName.ROLLED_BACK,),
        resources=_MODELS,
        # One message for base and variants, which move together.
        for_each=(_RUN,),
        subject=f"Rolled back: {_MODEL}",
        body=f"{_SAID}\n\nWhat happened and why: <ui>/artifacts/key/incident-"
        "{{ event.payload.model.split('__')[0] | replace('/', '-') }}\n"
        f"The flow run: {_FLOW_RUN}",
    ),
    Told(
        name="guardianflow tell of an alarm",
        description="Something only a person can mend: no way back, the scene has changed, an "
        "alias moved by hand.",
        expect=(EventName.ALARM,),
        resources=_MODELS,
        subject=f"Please look: {_MODEL}",
        body=f"{_SAID}\n\nWhat runs now: {_STATUS}\nThe flow run: {_FLOW_RUN}\n"
        "All that is wrong, and what mends it: guardianflow doctor",
    ),
    Told(
        name="guardianflow tell of a camera fault",
        description="A camera is dark, washed out, blurred, frozen or silent; once an hour.",
        expect=(EventName.CAMERA_FAULT,),
        resources=_MODELS,
        # Every window says it again, all night long.
        within=_CAMERA_S,
        subject=f"Camera fault: {_MODEL}",
        body=f"{_SAID}\n\nNo model is blamed and nothing is rolled back. Look at the camera.\n"
        f"The pictures: {_FLOW_RUN}",
    ),
)
