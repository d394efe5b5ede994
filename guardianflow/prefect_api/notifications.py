"""The messages that people get, as data: the event, the words and the link of each.

`deployments/automations.py` makes automations from them on the Prefect server, and
`monitoring/prefect_checks.py` finds those that are missing, off or edited.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from guardianflow.events import EventName

STATUS_PAGE = "guardianflow-status"
"""Key of the page that says what runs where."""
BURST_S = 30
"""Repetitions within this time are one message; 0 would send one for each event."""
_CAMERA_S = 3600
_RUN = "related:flow-run:prefect.resource.id"
_MODEL = "{{ event.payload.model or 'a server' }}"
_SAID = "{{ event.payload.message }}"
_FLOW_RUN = "<ui>/runs/flow-run/{{ flow_run.id }}"
_STATUS = f"<ui>/artifacts/key/{STATUS_PAGE}"
_MODELS = ("guardianflow.model.*", "guardianflow.server")


@dataclass(frozen=True)
class Notification:
    """One kind of message.

    Attributes:
        description: When it tells, for the Prefect UI.
        subject: First line; what stands in double braces is filled in by the Prefect server.
        body: The message with its link; `<ui>` is the address of the Prefect UI.
        for_each: Labels: what differs in one of them is another message.
        related: What the event has to be related to, by label.
        within: Seconds in which a repetition is not told again.
    """

    name: str
    description: str
    expect: tuple[str, ...]
    subject: str
    body: str
    resources: tuple[str, ...] = _MODELS
    for_each: tuple[str, ...] = ("prefect.resource.id",)
    related: Mapping[str, str] = field(default_factory=dict[str, str])
    within: int = BURST_S

    @property
    def trigger(self) -> dict[str, Any]:
        """The trigger of its automation, in the form of Prefect's API."""
        return {
            "match": {"prefect.resource.id": list(self.resources)},
            "match_related": dict(self.related),
            "after": [],
            "expect": [str(event) for event in self.expect],
            "for_each": list(self.for_each),
            "posture": "Reactive",
            "threshold": 1,
            "within": self.within,
        }


TOLD = (
    Notification(
        name="guardianflow tell of a waiting approval",
        description="A promotion waits for a person.",
        expect=("prefect.flow-run.Suspended",),
        resources=("prefect.flow-run.*",),
        related={"prefect.resource.role": "flow", "prefect.resource.name": "promote"},
        subject="Please decide: {{ flow_run.parameters.model_name }}",
        body="A new version of {{ flow_run.parameters.model_name }} waits for your decision. "
        "{{ flow_run.labels['guardianflow.headline'] }}\n"
        "{{ flow_run.labels['guardianflow.note'] }}\n\n"
        f"Read what changes and decide (Resume): {_FLOW_RUN}",
    ),
    Notification(
        name="guardianflow tell of an approval that ends soon",
        description="The last day of a question about a promotion has begun; once, and not where "
        "a question lasts less than two days.",
        expect=(EventName.EXPIRING,),
        subject=f"Please decide today: {_MODEL}",
        body=f"{_SAID}\n\nRead what changes and decide (Resume): "
        "<ui>/runs/flow-run/{{ event.payload.incident }}",
    ),
    Notification(
        name="guardianflow tell of an approval that ended",
        description="A question about a promotion is over and nobody decided.",
        expect=(EventName.UNDECIDED,),
        subject=f"Nobody decided about {_MODEL}",
        body=f"{_SAID}\n\nWhat runs now goes on running. What was asked: "
        "<ui>/runs/flow-run/{{ event.payload.incident }}\nAsk again: "
        "guardianflow promote {{ event.payload.model }} --request",
    ),
    Notification(
        name="guardianflow tell of a rollback",
        description="A release went back to its last-known-good version.",
        expect=(EventName.ROLLED_BACK,),
        # One message for base and variants, which move together.
        for_each=(_RUN,),
        subject=f"Rolled back: {_MODEL}",
        body=f"{_SAID}\n\nWhat happened and why: <ui>/artifacts/key/incident-"
        "{{ event.payload.model.split('__')[0] | replace('/', '-') }}\n"
        f"The flow run: {_FLOW_RUN}",
    ),
    Notification(
        name="guardianflow tell of an alarm",
        description="Something only a person can mend: no way back, the scene has changed, an "
        "alias moved by hand, a champion that nobody reports about, an automation that is off.",
        expect=(EventName.ALARM,),
        subject=f"Please look: {_MODEL}",
        body=f"{_SAID}\n\nWhat runs now: {_STATUS}\nThe flow run: {_FLOW_RUN}\n"
        "All that is wrong, and what mends it: guardianflow doctor",
    ),
    Notification(
        name="guardianflow tell that an alarm is over",
        description="Nothing of what an alarm said about a release or a server is wrong any more.",
        expect=(EventName.SETTLED,),
        subject=f"It is over: {_MODEL}",
        body=f"{_SAID}\n\nWhat runs now: {_STATUS}",
    ),
    Notification(
        name="guardianflow tell of a camera fault",
        description="A camera is dark, washed out, blurred, frozen or silent; once an hour.",
        expect=(EventName.CAMERA_FAULT,),
        # Every window says it again, all night long.
        within=_CAMERA_S,
        subject=f"Camera fault: {_MODEL}",
        body=f"{_SAID}\n\nNo model is blamed and nothing is rolled back. Look at the camera.\n"
        f"The pictures: {_FLOW_RUN}",
    ),
)
