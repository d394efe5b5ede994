"""What is wrong on a real Prefect server is found: its automations, schedules and workers."""

import json
import shlex
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.states import Cancelled, Completed, Crashed, Failed, Late, Running

from deployments import CHECKOUT
from deployments.automations import NOBODY, apply_automations
from guardianflow.cli import main
from guardianflow.events import EventName, ModelEvent
from guardianflow.monitoring.findings import FindingCode, Severity
from guardianflow.monitoring.prefect_checks import examine_prefect
from guardianflow.prefect_api.notifications import TOLD
from guardianflow.prefect_api.prefect_yaml import (
    CHECK_HEALTH,
    LIFECYCLE,
    PROMOTION,
    RECONCILE,
    RELEASE_POOL,
    ROLLBACK,
    TAG,
    described,
)
from testbed.servers import mlflow_server_on
from tests.integration.sink import open_sink
from tests.remedies import carry_out

ROLLS_BACK = described().rollback_trigger.name
ALARM = next(told.name for told in TOLD if EventName.ALARM in told.expect)
OWN = {"id", "owner_resource"}


@pytest.fixture
def prefect(applied):
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(autouse=True)
def forgotten(prefect):
    """No flow run of other tests, whose waiting and whose age would be found here."""
    while runs := prefect.read_flow_runs():
        for run in runs:
            prefect.delete_flow_run(run.id)


def found(orchestrator, now=None):
    return examine_prefect(orchestrator.server_state(), now or datetime.now(UTC))


def by_code(orchestrator):
    return {finding.code: finding for finding in found(orchestrator)}


def until(look, deadline_s=30):
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError("nothing came in time")


def beat(client, pool):
    """A sign of life of a worker."""
    body = {"name": "a-test", "heartbeat_interval_seconds": 30}
    client.request("POST", f"/work_pools/{pool}/workers/heartbeat", json=body)


def test_what_is_expected_is_what_prefect_yaml_describes():
    content = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text("utf-8"))
    entries = content["deployments"]
    names = {f"{e['entrypoint'].rpartition('.')[2].replace('_', '-')}/{e['name']}" for e in entries}
    assert names == set(described().deployments)
    assert names >= {LIFECYCLE, PROMOTION, CHECK_HEALTH, ROLLBACK, RECONCILE}
    assert {e["entrypoint"] for e in entries} == set(described().deployments.values())
    assert all(TAG in entry["tags"] for entry in entries)
    assert {entry["work_pool"]["name"] for entry in entries} == set(described().pools)
    assert set(described().pools) == {"guardianflow-train", RELEASE_POOL}
    limits = {name: pool.concurrency_limit for name, pool in described().pools.items()}
    assert limits == {"guardianflow-train": 1, RELEASE_POOL: None}
    [trigger] = [trigger for entry in entries for trigger in entry.get("triggers", [])]
    acts = described().rollback_trigger
    assert trigger["name"] == acts.name
    assert trigger["parameters"] == acts.parameters
    wanted = {**acts.trigger, **{key: trigger.get(key) for key in acts.trigger}}
    assert wanted == {**acts.trigger, "match_related": None, "after": None}
    assert wanted["expect"] == [EventName.HEALTH_FAILING]


def test_a_server_as_it_was_applied_lacks_workers_alone(applied, prefect):
    findings = found(applied)
    assert {f.code for f in findings if f.severity is not Severity.NOTE} == {FindingCode.NO_WORKER}
    assert {f.severity for f in findings if RELEASE_POOL in f.message} == {Severity.ERROR}
    assert by_code(applied)[FindingCode.NOBODY_TOLD].severity is Severity.NOTE


def test_a_paused_work_queue_is_found_at_once_with_its_own_remedy(applied, prefect, tmp_path):
    [queue] = prefect.read_work_queues(work_pool_name=RELEASE_POOL)
    prefect.update_work_queue(queue.id, is_paused=True)
    try:
        paused = by_code(applied)[FindingCode.QUEUE_PAUSED]
        carry_out(paused, tmp_path, prefect=applied.api_url)
        assert FindingCode.QUEUE_PAUSED not in by_code(applied)
    finally:
        prefect.update_work_queue(queue.id, is_paused=False)
    assert paused.severity is Severity.ERROR


def test_a_queue_whose_name_has_blanks_is_one_word_of_the_remedy(applied):
    state = applied.server_state()
    pool = replace(state.pools[RELEASE_POOL], paused_queues=("night shift",))
    pools = {**state.pools, RELEASE_POOL: pool}
    findings = examine_prefect(replace(state, pools=pools), datetime.now(UTC))
    [remedy] = [f.remedy for f in findings if f.code == FindingCode.QUEUE_PAUSED]
    assert "night shift" in shlex.split(remedy.split("`")[1])


@pytest.fixture
def rollback_automation(prefect):
    """The one that acts, put back afterwards."""
    (before,) = prefect.read_automations_by_name(ROLLS_BACK)
    yield before
    for left in prefect.read_automations_by_name(ROLLS_BACK):
        prefect.delete_automation(left.id)
    owner = f"prefect.deployment.{before.actions[0].deployment_id}"
    prefect.create_automation(
        AutomationCore(**before.model_dump(exclude=OWN), owner_resource=owner)
    )


def plain(automation, **update):
    core = AutomationCore.model_validate(automation.model_dump(exclude=OWN))
    return core.model_copy(update=update)


def test_an_automation_that_is_off_edited_doubled_or_gone_is_found(
    applied, prefect, rollback_automation
):
    mine = rollback_automation
    assert not {c for c in by_code(applied) if c.startswith("automation")}

    prefect.pause_automation(mine.id)
    off = by_code(applied)[FindingCode.AUTOMATION_OFF]
    assert (off.severity, str(mine.id) in off.remedy) == (Severity.ERROR, True)
    prefect.resume_automation(mine.id)

    hasty = mine.trigger.model_copy(update={"within": timedelta(0)})
    prefect.update_automation(mine.id, plain(mine, trigger=hasty))
    edited = by_code(applied)[FindingCode.AUTOMATION_CHANGED]
    assert edited.message.endswith("was edited: within.")

    other = mine.actions[0].model_copy(update={"parameters": {"model_name": "x"}})
    prefect.update_automation(mine.id, plain(mine, actions=[other]))
    edited = by_code(applied)[FindingCode.AUTOMATION_CHANGED]
    assert edited.message.endswith("was edited: actions.")

    prefect.create_automation(plain(mine))
    assert "is there 2 times" in by_code(applied)[FindingCode.AUTOMATION_CHANGED].message
    for one in prefect.read_automations_by_name(ROLLS_BACK):
        prefect.delete_automation(one.id)
    gone = by_code(applied)[FindingCode.AUTOMATION_MISSING]
    assert gone.severity is Severity.ERROR
    assert "`python -m deployments.apply`" in gone.remedy


@pytest.fixture
def sink(prefect):
    with open_sink() as opened:
        CustomWebhookNotificationBlock.register_type_and_schema()
        save_block(opened)
        apply_automations(prefect, "custom-webhook/gone-sink")
        # The server reads new automations a moment after they are made.
        time.sleep(2)
        yield opened
        apply_automations(prefect, NOBODY)


def save_block(sink):
    content = {"subject": "{{subject}}", "body": "{{body}}"}
    block = CustomWebhookNotificationBlock(name="gone", url=sink.address, json_data=content)
    return block.save("gone-sink", overwrite=True)


def alarm(orchestrator):
    """An alarm about a model of its own; its name."""
    model = f"test/plant-{uuid.uuid4().hex[:10]}/welding/ppe"
    orchestrator.emit(EventName.ALARM, ModelEvent(model=model, version=1, message="a test"))
    return model


def test_an_action_that_failed_is_listed_until_one_works(applied, prefect, sink):
    assert not {FindingCode.AUTOMATION_FAILED, FindingCode.BLOCK_MISSING} & set(by_code(applied))
    CustomWebhookNotificationBlock.delete("gone-sink")
    lost = by_code(applied)[FindingCode.BLOCK_MISSING]
    assert (lost.severity, "--notify" in lost.remedy) == (Severity.ERROR, True)

    alarm(applied)
    failed = until(lambda: by_code(applied).get(FindingCode.AUTOMATION_FAILED))
    assert failed.severity is Severity.WARNING
    assert repr(ALARM) in failed.message
    alarm(applied)
    until(lambda: "2 times" in by_code(applied)[FindingCode.AUTOMATION_FAILED].remedy)

    save_block(sink)
    apply_automations(prefect, "custom-webhook/gone-sink")
    # Changed since, so the failure says nothing about it any more.
    assert FindingCode.AUTOMATION_FAILED not in by_code(applied)
    sink.wait_for(alarm(applied))


def test_a_failure_of_a_foreign_automation_is_over_when_an_action_works(applied, prefect):
    event, name = f"test.{uuid.uuid4().hex}", f"of a stranger {uuid.uuid4().hex}"
    made = prefect.create_automation(
        AutomationCore.model_validate(
            {
                "name": name,
                "trigger": {"expect": [event], "posture": "Reactive", "within": 0},
                "actions": [
                    {
                        "type": "run-deployment",
                        "deployment_id": applied.server_state().deployments[ROLLBACK].id,
                        "parameters": {"model_name": "{{ event.payload.model }}", "reason": "why"},
                    }
                ],
            }
        )
    )
    time.sleep(2)

    def send(model):
        body = {
            "id": str(uuid.uuid4()),
            "event": event,
            "occurred": datetime.now(UTC).isoformat(),
            "resource": {"prefect.resource.id": "test"},
            "payload": {"model": model},
        }
        prefect.request("POST", "/events", json=[body])

    def mine():
        return [
            f
            for f in found(applied)
            if f.code is FindingCode.AUTOMATION_FAILED and name in f.message
        ]

    send("no-slashes")
    [failed] = until(mine)
    assert f"/automations/automation/{made}" in failed.remedy
    send("test/lab-bench/welding/ppe")
    until(lambda: not mine())
    prefect.delete_automation(made)


def test_a_schedule_that_is_off_is_an_error(applied, prefect):
    deployment = prefect.read_deployment_by_name(RECONCILE)
    prefect.pause_deployment(deployment.id)
    try:
        off = by_code(applied)[FindingCode.PASS_OFF]
        assert (off.severity, RECONCILE in off.message) == (Severity.ERROR, True)
    finally:
        prefect.resume_deployment(deployment.id)
    assert FindingCode.PASS_OFF not in by_code(applied)


def test_passes_that_are_not_made_any_more_are_an_error(applied, prefect):
    run = prefect.create_flow_run_from_deployment(prefect.read_deployment_by_name(RECONCILE).id)
    for state in (Running(), Completed()):
        prefect.set_flow_run_state(run.id, state, force=True)
    try:
        assert FindingCode.PASS_LATE not in by_code(applied)
        later = datetime.now(UTC) + timedelta(minutes=26)
        late = {f.code: f for f in found(applied, later)}[FindingCode.PASS_LATE]
        assert late.severity is Severity.ERROR
    finally:
        prefect.delete_flow_run(run.id)


@pytest.mark.parametrize("ended", [Crashed, Failed])
def test_passes_that_all_crash_are_an_error_with_the_reason(applied, prefect, ended):
    deployment = prefect.read_deployment_by_name(RECONCILE).id

    def make_pass(*states, **parameters):
        run = prefect.create_flow_run_from_deployment(deployment, parameters=parameters)
        for state in states:
            prefect.set_flow_run_state(run.id, state, force=True)

    make_pass(Running(), ended(message="No module named 'flows'"))
    failed = by_code(applied)[FindingCode.PASS_FAILED]
    assert failed.severity is Severity.ERROR
    assert "none has ever ended well: No module named 'flows'" in failed.message
    # One that found another at work never looked: it mends nothing.
    make_pass(Cancelled())
    assert FindingCode.PASS_FAILED in by_code(applied)
    # Nor does one that was made by hand for one model.
    make_pass(Running(), Completed(), model_name="test/lab-bench/welding/ppe")
    assert "none has ever ended well" in by_code(applied)[FindingCode.PASS_FAILED].message
    assert applied.last_ended("reconcile").ok is False
    make_pass(Running(), Completed())
    assert FindingCode.PASS_FAILED not in by_code(applied)
    make_pass(Running(), ended(message="again"))
    assert (
        "the last one that ended well did so at"
        in by_code(applied)[FindingCode.PASS_FAILED].message
    )


def test_pools_without_a_worker_paused_or_late_are_told_apart(applied, prefect, tmp_path):
    def said():
        return {f.code: f.remedy for f in found(applied) if RELEASE_POOL in f.message}

    ago = datetime.now(UTC) - timedelta(minutes=10)
    run = prefect.create_flow_run_from_deployment(
        prefect.read_deployment_by_name(ROLLBACK).id,
        parameters={"model_name": "test/lab-bench/welding/ppe", "reason": "a test"},
        state=Late(scheduled_time=ago),
    )
    assert list(said()) == [FindingCode.NO_WORKER]
    assert said()[FindingCode.NO_WORKER].endswith("1 flow run waits.")
    beat(prefect, RELEASE_POOL)
    assert list(said()) == [FindingCode.RUNS_WAIT]
    prefect.delete_flow_run(run.id)
    assert said() == {}
    prefect.update_work_pool(RELEASE_POOL, WorkPoolUpdate(is_paused=True))
    assert list(said()) == [FindingCode.POOL_PAUSED]
    paused = by_code(applied)[FindingCode.POOL_PAUSED]
    # In this order: Prefect looks at the workers of a pool when it is resumed, and the tests after
    # this one are to find the server as it was.
    prefect.request("DELETE", f"/work_pools/{RELEASE_POOL}/workers/a-test")
    carry_out(paused, tmp_path, prefect=applied.api_url)
    assert not prefect.read_work_pool(RELEASE_POOL).is_paused
    assert prefect.read_work_pool(RELEASE_POOL).status == "NOT_READY"


def test_the_command_asks_prefect_where_one_is_named(applied, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path))

    def doctor(prefect):
        with monkeypatch.context() as patch:
            patch.setenv("PREFECT_API_URL", prefect)
            with pytest.raises(SystemExit):
                main(["doctor", "--json"])
        findings = json.loads(capsys.readouterr().out)["findings"]
        return {finding["code"] for finding in findings if not finding["model"]}

    # A server of its own: on that of the session a doctor looks at the models of all other tests.
    with mlflow_server_on(tmp_path) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        assert "no-worker" in doctor(applied.api_url)
        assert doctor("http://127.0.0.1:9/api") == {"orchestrator-unreadable"}
        assert doctor("") == set()


def test_an_empty_server_is_told_in_one_finding(applied):
    empty = applied.server_state().__class__({}, {}, {}, frozenset(), None)
    [finding] = examine_prefect(empty, datetime.now(UTC))
    assert (finding.code, finding.severity) == (FindingCode.NOT_APPLIED, Severity.ERROR)
