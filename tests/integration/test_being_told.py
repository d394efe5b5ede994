"""Being told on a real Prefect API: event -> automation -> notification block -> a local sink."""

import re
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.states import Cancelled, Suspended

from deployments.automations import NOBODY, apply_automations
from flows.promotion import promote as asking
from flows.questions import look_at_questions
from flows.reconcile import reconcile, watch_health, watch_silence
from flows.rollback import rollback
from flows.status_page import refresh_status
from guardianflow.errors import InputError
from guardianflow.events import EventName, ModelEvent
from guardianflow.health.box_reports import BoxReport, post_report
from guardianflow.health.verdict import Verdict
from guardianflow.monitoring.pass_memory import Notes, Topic
from guardianflow.monitoring.silence import Watched
from guardianflow.names import ModelName
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.notifications import TOLD
from guardianflow.promotion import propose
from guardianflow.promotion.question import Question, open_questions
from guardianflow.registry.ledger.log import known_bases
from guardianflow.vision.metrics.camera import CameraFault, FaultKind
from testbed.reports import keep_report
from tests.integration.releases import registered
from tests.integration.sink import open_sink

LINK = re.compile(r"http\S+/(runs/flow-run|artifacts/key)/(\S+)")
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
        (EventName.EXPIRING, "Please decide today", "/runs/flow-run/the-incident"),
        (EventName.SETTLED, "It is over", "/artifacts/key/guardianflow-status"),
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
            labels = {"guardianflow.headline": "missed 3 -> 1", "guardianflow.note": "Asked anew."}
            client.update_flow_run_labels(run.id, labels)
            client.set_flow_run_state(run.id, Suspended(timeout_seconds=60), force=True)
        message = sink.wait_for(model)
        client.delete_flow_run(run.id)
    assert message["subject"] == f"Please decide: {model}"
    assert "missed 3 -> 1\nAsked anew." in message["body"]
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


def opened(message):
    """What the links of a message lead to, read from Prefect's API: pages and flow runs."""
    found = []
    with get_client(sync_client=True) as client:
        for kind, what in re.findall(
            r"http\S+/(runs/flow-run|artifacts/key)/(\S+)", message["body"]
        ):
            path = f"/artifacts/{what}/latest" if kind == "artifacts/key" else f"/flow_runs/{what}"
            found.append(client.request("GET", path).json())
    assert found, message
    return found


def test_a_rollback_leads_to_its_page_and_no_way_back_to_what_runs_now(sink, releases):
    @flow(name="status-test")
    def refresh():
        return refresh_status()

    single = releases.release()
    refresh()
    report = keep_report(releases.client, single, 2)
    rollback(single, failing_version=2, report=report)
    message = sink.wait_for(single)
    assert message["subject"] == f"Rolled back: {single}"
    page, run = opened(message)
    assert "| ppe | @champion | 2 | 1 |" in page["data"]
    assert run["name"] == f"rollback {single}"

    # The restored version fails too, and an automation goes back once.
    again = keep_report(releases.client, single, 1)
    rollback(single, failing_version=1, report=again, return_state=True)
    held = sink.wait_for(f"Please look: {single}")
    assert "restored by a rollback" in held["body"]
    first = releases.name()
    releases.version(first)
    releases.registry.promote_to_champion(first)
    rollback(first, 1, keep_report(releases.client, first, 1), return_state=True)
    alarm = sink.wait_for(first)
    assert alarm["subject"] == f"Please look: {first}"
    assert "no way back" in alarm["body"] or "nothing" in alarm["body"]
    status, run = opened(alarm)
    assert single in status["data"]
    assert run["state_type"] == "FAILED"


def test_a_champion_that_was_deleted_is_told_with_the_page_on_what_was_put_back(sink, releases):
    single = releases.release()
    releases.client.delete_model_version(registered(single), "2")
    assert reconcile(single, return_state=True).name == "Mended"
    page, _ = opened(sink.wait_for(f"Rolled back: {single}"))
    assert "| ppe | @champion | 2 | 1 |" in page["data"]
    opened(sink.wait_for(f"Please look: {single}"))


def test_a_question_is_told_a_day_before_its_end_and_when_nobody_decided(sink, releases):
    name = releases.name()
    releases.version(name)
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(asking, parameters={"model_name": name})
        question = Question(releases.registry, str(run.id), datetime.now(UTC), 1)
        proposal = question.ask(
            lambda: propose(releases.registry, name, token=str(run.id), requested_by="Park")
        )
        client.set_flow_run_state(run.id, Suspended(timeout_seconds=60), force=True)
        sink.wait_for(f"Please decide: {name}")
        for _ in range(2):
            look_at_questions(proposal.expires - timedelta(hours=23))
        soon = sink.wait_for(f"Please decide today: {name}")
        assert f"ends at {proposal.expires:%Y-%m-%d %H:%M} UTC" in soon["body"]
        assert [one["id"] for one in opened(soon)] == [str(run.id)]
        client.set_flow_run_state(run.id, Cancelled(), force=True)
        look_at_questions()
        over = sink.wait_for(f"Nobody decided about {name}")
        assert [one["id"] for one in opened(over)] == [str(run.id)]
    assert len(sink.about(name)) == 3


def test_a_release_whose_ledger_cannot_be_read_keeps_no_question_about_others_open(releases):
    names = damaged, other = releases.release(), releases.release()
    requests = {}
    for name in names:
        releases.version(name)
        # Its flow run is gone, so whether it was decided is asked of the ledger.
        requests[name] = Question(releases.registry, str(uuid.uuid4()), datetime.now(UTC), 1)
        requests[name].ask(
            lambda name=name: propose(
                releases.registry, name, token=uuid.uuid4().hex, requested_by="Park"
            )
        )
    (run_id,) = known_bases(releases.client)[ModelName.parse(damaged)]
    releases.client.delete_run(run_id)
    said = look_at_questions()
    assert any(f"Nobody decided about {other}" in text for text in said)
    waiting = {question.asked.model_name for question in open_questions(releases.client)}
    assert damaged in waiting
    assert other not in waiting
    releases.client.restore_run(run_id)
    assert any(f"Nobody decided about {damaged}" in text for text in look_at_questions())


def test_silence_is_told_once_and_once_more_when_it_is_over(sink, releases):
    @flow(name="silence-test")
    def make_pass():
        return [finding.model for finding in watch_silence({name: 2})]

    name = releases.release()
    long_ago = Watched(version=2, after_h=24.0, seen=datetime(2026, 1, 1, tzinfo=UTC))
    Notes(releases.client, Topic.WATCHED, Watched).write(name, long_ago)
    for _ in range(2):
        assert make_pass() == [name]
    message = sink.wait_for(name)
    assert message["subject"] == f"Please look: {name}"
    assert "since 2026-01-01 00:00 UTC, for more than 24 h" in message["body"]
    keep_report(releases.client, name, 2, Verdict.HEALTHY)
    for _ in range(2):
        assert make_pass() == []
    over = sink.wait_for(f"It is over: {name}")
    assert "Reports about" in over["body"]
    assert len(sink.about(name)) == 2
    assert releases.registry.get_champion(name).version == 2


def test_a_dark_camera_of_a_box_is_told_with_the_report(sink, releases):
    @flow(name="box-test")
    def make_pass():
        return watch_health({name: 2})

    name = releases.release()
    now = datetime.now(UTC)
    dark = CameraFault(kind=FaultKind.DARK, frames=60, of=60)
    box = BoxReport(
        model=name, version=2, camera="box-7", begin=now, end=now, frames=60, faults=(dark,)
    )
    post_report(releases.client, box)
    [said] = make_pass()
    message = sink.wait_for(name)
    assert (message["subject"], said in message["body"]) == (f"Camera fault: {name}", True)
    [run] = opened(message)
    with get_client(sync_client=True) as client:
        wanted = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
        [page] = client.request("POST", "/artifacts/filter", json=wanted).json()
    assert said in page["data"]
    assert releases.registry.get_champion(name).version == 2
