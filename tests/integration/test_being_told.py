"""Being told on a real Prefect API: event -> automation -> notification block -> a local sink."""

import time
import uuid

import pytest
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.states import Suspended

from deployments.automations import NOBODY, apply_automations
from guardianflow.control import Orchestrator
from guardianflow.errors import InputError
from guardianflow.events import EventName, ModelEvent
from guardianflow.telling import TOLD
from tests.integration.sink import open_sink

BLOCK = "custom-webhook/told-sink"


@pytest.fixture(scope="module")
def sink(prefect_server):
    with open_sink() as opened, get_client(sync_client=True) as client:
        CustomWebhookNotificationBlock.register_type_and_schema()
        block = CustomWebhookNotificationBlock(
            name="sink",
            url=opened.address,
            json_data={"subject": "{{subject}}", "body": "{{body}}"},
        )
        block.save(BLOCK.partition("/")[2], overwrite=True)
        apply_automations(client, BLOCK)
        # The server reads new automations a moment after they are made.
        time.sleep(2)
        yield opened
        apply_automations(client, NOBODY)


def a_model():
    return f"test/plant-{uuid.uuid4().hex[:10]}/welding/ppe"


def ours():
    with get_client(sync_client=True) as client:
        names = {told.name for told in TOLD}
        return {a.name: a for a in client.read_automations() if a.name in names}


@pytest.mark.parametrize(
    ("event", "subject", "link"),
    [
        (EventName.UNDECIDED, "Nobody decided about", "/runs/flow-run/the-incident"),
        (EventName.ROLLED_BACK, "Rolled back", "/artifacts/key/incident-test-plant-"),
        (EventName.ALARM, "Please look", "/artifacts/key/guardianflow-status"),
        (EventName.CAMERA_FAULT, "Camera fault", "/runs/flow-run/"),
    ],
)
def test_an_event_is_told_once_in_a_burst(prefect_server, sink, event, subject, link):
    model = a_model()
    for number in range(5):
        payload = ModelEvent(
            model=model, version=number + 1, incident="the-incident", message="It is said so."
        )
        Orchestrator(prefect_server).emit(event, payload)
    message = sink.wait_for(model)
    assert subject in message["subject"]
    assert "It is said so." in message["body"]
    assert Orchestrator(prefect_server).ui_url + link in message["body"]
    # Another event behind them: when it is told, those before it were looked at.
    other = a_model()
    Orchestrator(prefect_server).emit(
        EventName.CAMERA_FAULT, ModelEvent(model=other, version=1, message="last")
    )
    sink.wait_for(other)
    assert len(sink.about(model)) == 1


def test_a_waiting_approval_is_told_with_the_page_where_it_is_answered(prefect_server, sink):
    @flow(name="promote")
    def promote(model_name: str) -> None: ...

    @flow(name="unrelated")
    def unrelated(model_name: str) -> None: ...

    model, other = a_model(), a_model()
    with get_client(sync_client=True) as client:
        for what, name in ((unrelated, other), (promote, model)):
            run = client.create_flow_run(what, parameters={"model_name": name})
            client.update_flow_run_labels(run.id, {"guardianflow.headline": "missed 3 -> 1"})
            client.set_flow_run_state(run.id, Suspended(timeout_seconds=60), force=True)
        message = sink.wait_for(model)
        client.delete_flow_run(run.id)
    assert message["subject"] == f"Please decide: {model}"
    assert "missed 3 -> 1" in message["body"]
    assert f"/runs/flow-run/{run.id}" in message["body"]
    assert not sink.about(other)


def test_applying_again_keeps_the_block_and_changes_nothing(sink, capsys):
    before = {name: (a.id, a.model_dump_json()) for name, a in ours().items()}
    assert len(before) == len(TOLD)
    with get_client(sync_client=True) as client:
        apply_automations(client)
    assert {name: (a.id, a.model_dump_json()) for name, a in ours().items()} == before
    assert capsys.readouterr().out == f"people are told by the block {BLOCK}\n"


def test_what_was_edited_is_put_right_and_strangers_are_left_alone(sink):
    edited = ours()[TOLD[0].name]
    plain = AutomationCore.model_validate(edited.model_dump(exclude={"id", "owner_resource"}))
    with get_client(sync_client=True) as client:
        made = client.create_automation(plain.model_copy(update={"name": "mine", "tags": []}))
        wrong = plain.model_copy(update={"enabled": False, "description": "edited"})
        client.update_automation(edited.id, wrong)
        apply_automations(client)
        assert client.read_automation(made) is not None
        client.delete_automation(made)
    again = ours()[TOLD[0].name]
    assert (again.id, again.enabled, again.description) == (edited.id, True, TOLD[0].description)


@pytest.mark.parametrize("block", ["custom-webhook/absent", "absent/absent", "nothing"])
def test_a_block_that_is_not_there_is_refused(sink, block):
    with get_client(sync_client=True) as client, pytest.raises(InputError, match="no block"):
        apply_automations(client, block)
    assert len(ours()) == len(TOLD)
