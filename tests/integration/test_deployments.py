"""Applying the deployments to a real Prefect API: typed, idempotent, bad values refused."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.states import Completed, Running, Suspended

from deployments import deploying
from deployments.apply import apply
from deployments.deploying import find_differences
from deployments.emergency import apply_rollbacks
from deployments.pools import apply_pools, drop_missed_passes, prepare_pool
from flows.retention import forget_old_runs
from guardianflow.errors import AnswerInvalid, InputError, Refused
from guardianflow.machine.servers import NO_TELEMETRY
from guardianflow.monitoring.reconciliation import PASS_EVERY
from guardianflow.prefect_api import answers, listing
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.prefect_yaml import described
from tests.proxy import Fault, proxy_before

EMERGENCY = "guardianflow-emergency"
POOLS_RELEASE = "guardianflow-release"
NAME = "donghwa-entec/busan-plant1/welding/ppe"
ROLLBACK_OF = {"model_name": NAME, "reason": "a test of what is forgotten"}
FLOWS = {
    *("train", "quantize", "lifecycle", "promote", "rollback", "check-health", "drill"),
    "reconcile",
}


def state():
    """Everything that applying describes, without ids and times."""
    with get_client(sync_client=True) as client:
        flows = {flow.id: flow.name for flow in client.read_flows()}
        everything = client.read_deployments()
        deployments = {
            flows[d.flow_id]: (d.name, d.entrypoint, d.work_pool_name, d.parameter_openapi_schema)
            for d in everything
            if EMERGENCY not in d.tags
        }
        prefilled = sorted((d.name, d.updated) for d in everything if EMERGENCY in d.tags)
        automations = sorted(
            (a.name, a.enabled, a.trigger.model_dump_json(exclude={"id"}))
            for a in client.read_automations()
        )
        pools = [
            (name, client.read_work_pool(name).concurrency_limit) for name in described().pools
        ]
        blocks = client.request("POST", "/block_documents/filter", json={}).json()
    documents = sorted((b["name"], b["updated"]) for b in blocks)
    told = [deployments, automations, pools, documents, prefilled]
    return json.loads(json.dumps(told, default=str))


def test_every_flow_has_one_typed_deployment(applied):
    deployments = state()[0]
    assert set(deployments) >= FLOWS
    for flow, (name, _, pool, schema) in deployments.items():
        assert name == "guardianflow"
        assert pool in described().pools
        assert schema["properties"], flow
        for parameter, field in schema["properties"].items():
            assert {"type", "anyOf", "enum", "$ref"} & set(field), (flow, parameter)
            assert len(field.get("description", "")) > 10, (flow, parameter)


def test_applying_twice_changes_nothing(applied, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5999")
    before = state()
    apply()
    assert state() == before


def test_an_untyped_deployment_and_a_missing_automation_are_noticed(applied):
    with get_client(sync_client=True) as client:
        expected = described()
        assert find_differences(client, expected) == []
        deployments = {**expected.deployments, "absent/guardianflow": "flows.absent.absent"}
        triggers = (replace(expected.rollback_trigger, name="x"),)
        wanted = replace(expected, deployments=deployments, triggers=triggers)
        problems = find_differences(client, wanted)
    assert "deployment flows.absent.absent is missing" in problems
    assert "automation 'x' is there 0 times" in problems


@pytest.mark.parametrize(
    ("flow", "parameters"),
    [
        ("promote", {"model_name": "no-slashes"}),
        ("promote", {"model_name": NAME, "model_version": 0}),
        ("promote", {"model_name": NAME, "model_version": "seven"}),
        ("promote", {}),
        ("rollback", {"model_name": NAME, "report": "../../etc"}),
        ("rollback", {"model_name": NAME, "failing_version": -1}),
        ("check-health", {"model_name": NAME, "window": ""}),
        ("drill", {"model_name": "no-slashes"}),
        ("train", {"scenario": "Donghwa", "version": "v1"}),
        ("train", {"scenario": "donghwa-entec-ppe", "version": "1"}),
        ("lifecycle", {"scenario": "donghwa-entec-ppe"}),
    ],
)
def test_a_bad_value_is_refused_before_a_run_starts(applied, flow, parameters):
    with get_client(sync_client=True) as client:
        before = len(client.read_flow_runs())
        with pytest.raises(InputError, match="refuses the parameters"):
            applied.submit(f"{flow}/guardianflow", parameters)
        assert len(client.read_flow_runs()) == before


def test_a_run_with_an_idempotency_key_is_created_once(applied):
    parameters = {"model_name": NAME, "reason": "because"}
    first = applied.submit("rollback/guardianflow", parameters, idempotency_key="one")
    second = applied.submit("rollback/guardianflow", parameters, idempotency_key="one")
    assert first.id == second.id
    with get_client(sync_client=True) as client:
        client.delete_flow_run(first.id)


@pytest.mark.parametrize(
    ("flow", "parameters", "name"),
    [
        ("promote", {"model_name": NAME, "model_version": 2}, f"promote {NAME}"),
        ("lifecycle", {"scenario": "a-b", "version": "v3"}, "lifecycle a-b v3"),
    ],
)
def test_a_run_says_what_it_is_from_the_request_on(applied, flow, parameters, name):
    asked = applied.submit(f"{flow}/guardianflow", parameters)
    with get_client(sync_client=True) as client:
        client.delete_flow_run(asked.id)
    assert asked.name == name


def test_an_answer_that_gets_lost_does_not_start_a_second_run(applied):
    server = str(get_current_settings().api.url).removesuffix("/api")
    deployment, given = "rollback/guardianflow", {"model_name": NAME, "reason": "once"}
    with proxy_before(server, patience_s=60) as proxy:
        proxy.arm(Fault.DENIED, write=1, times=1)
        started = Orchestrator(f"{proxy.uri}/api").submit(deployment, given)
        assert proxy.hits == 1
    another = applied.submit(deployment, given)
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs() if run.parameters.items() >= given.items()]
        assert sorted(str(run.id) for run in runs) == sorted((started.id, another.id))
        for run in runs:
            client.delete_flow_run(run.id)


def test_a_missing_deployment_says_how_it_comes_there(applied):
    with pytest.raises(InputError, match=r"deployments\.apply"):
        applied.submit("absent/guardianflow", {})


def test_a_rollback_of_a_scenario_asks_for_a_reason_alone(applied):
    with get_client(sync_client=True) as client:
        made = client.read_deployment_by_name("rollback/donghwa-entec-ppe")
        schema = made.parameter_openapi_schema
        assert (list(schema["properties"]), schema["required"]) == (["reason"], ["reason"])
        assert NAME in made.description
        for given in ({}, {"reason": "no"}):
            with pytest.raises(InputError, match="refuses the parameters"):
                applied.submit("rollback/donghwa-entec-ppe", given)
        started = applied.submit("rollback/donghwa-entec-ppe", {"reason": "all alarms are false"})
        run = client.read_flow_run(started.id)
        assert run.parameters == {"model_name": NAME, "reason": "all alarms are false"}
        general = client.read_deployment_by_name("rollback/guardianflow")
        assert (made.entrypoint, made.work_pool_name) == (general.entrypoint, POOLS_RELEASE)
        assert made.job_variables == general.job_variables
        client.delete_flow_run(run.id)


def test_a_prefilled_rollback_goes_with_its_scenario_and_strangers_stay(applied, capsys):
    with get_client(sync_client=True) as client:
        general = client.read_deployment_by_name("rollback/guardianflow")
        ours = client.create_deployment(general.flow_id, "gone-scenario", tags=[EMERGENCY])
        mine = client.create_deployment(general.flow_id, "of-a-stranger")
        apply_rollbacks(client)
        names = {d.name: d.id for d in client.read_deployments()}
        assert "gone-scenario" not in names, ours
        assert names["of-a-stranger"] == mine
        client.delete_deployment(mine)
    assert "rollback/gone-scenario: its scenario is gone" in capsys.readouterr().out


def prefect(*words):
    """A command of Prefect in a process of its own, as the README's lines are typed."""
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    return subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *words],
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_blocks_are_registered_by_prefects_own_command(applied):
    done = prefect("block", "register", "-m", "blocks")
    assert done.returncode == 0, done.stderr
    assert "MLflow Credentials" in done.stdout
    assert "Scenario Config" in done.stdout


def test_a_promotion_is_started_by_prefects_own_command(applied):
    words = ("deployment", "run", "promote/guardianflow", "-p")
    done = prefect(*words, f"model_name={NAME}", "-p", "model_version=7")
    assert done.returncode == 0, done.stdout + done.stderr
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs() if run.parameters.get("model_version") == 7]
        assert [run.parameters["model_name"] for run in runs] == [NAME]
        client.delete_flow_run(runs[0].id)
    assert prefect(*words, "model_name=no-slashes").returncode != 0


@pytest.mark.parametrize(
    ("first_line", "parameter", "said"),
    [
        ("import absent_library", "x: int", "absent_library"),
        ("", "x", r"broken is untyped: \['x'\]"),
    ],
    ids=["does not import", "has no types"],
)
def test_a_flow_without_a_form_is_refused(
    applied, tmp_path, monkeypatch, first_line, parameter, said
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5999")
    lines = [first_line, "from prefect import flow", "@flow", f"def broken({parameter}): ..."]
    (tmp_path / "broken.py").write_text("\n".join(lines))
    entry = {"name": "other", "entrypoint": "broken.broken", "pull": []}
    entry["work_pool"] = {"name": "guardianflow-release"}
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump({"deployments": [entry]}))
    monkeypatch.setattr(deploying, "CHECKOUT", tmp_path)
    with pytest.raises(Refused, match=said):
        apply()
    with get_client(sync_client=True) as client:
        for made in client.read_deployments():
            if made.name == "other":
                client.delete_deployment(made.id)


def test_every_page_of_deployments_is_looked_at(applied, monkeypatch):
    monkeypatch.setattr(listing, "_PAGE", 2)
    with get_client(sync_client=True) as client:
        assert find_differences(client, described()) == []


def test_workers_that_were_started_by_hand_do_not_phone_home_either(applied):
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            assert NO_TELEMETRY.items() <= deployment.job_variables["env"].items()


@pytest.fixture
def suspended(applied):
    """A promotion as it is for a moment: suspended, and the form's schema not saved yet."""
    asked = applied.submit("promote/guardianflow", {"model_name": NAME})
    state = Suspended(timeout_seconds=60)
    state.state_details.run_input_keyset = {"schema": "q-schema", "response": "q-response"}
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(asked.id, state, force=True)
        yield asked.id
        client.delete_flow_run(asked.id)


def test_an_answer_waits_for_the_form(applied, suspended):
    def save_the_form():
        time.sleep(1)
        form = {"type": "object", "properties": {"decision": {"enum": ["approve"]}}}
        body = {"key": "q-schema", "value": json.dumps(form), "sender": "test"}
        with get_client(sync_client=True) as client:
            client.request("POST", f"/flow_runs/{suspended}/input", json=body)

    with ThreadPoolExecutor(1) as pool:
        saved = pool.submit(save_the_form)
        applied.answer(suspended, "approve", "Kim", "because")
        saved.result()
    assert not applied.read(suspended).waiting


def test_a_question_without_a_form_says_where_to_answer(applied, suspended, monkeypatch):
    monkeypatch.setattr(answers, "_FORM_TIMEOUT_S", 0.5)
    with pytest.raises(AnswerInvalid, match=f"answer again.*{suspended}"):
        applied.answer(suspended, "approve", "Kim", "because")


def test_a_flow_run_is_found_by_its_key_and_followed_for_a_limited_time(applied):
    parameters = {"model_name": NAME, "reason": "because"}
    started = applied.submit("rollback/guardianflow", parameters, idempotency_key="two")
    assert applied.find("two") == started
    assert applied.find("three") is None
    # No worker polls here.
    as_it_stands = applied.follow(started.id, lambda _: None, timeout_s=0.1)
    assert not as_it_stands.final
    with get_client(sync_client=True) as client:
        client.delete_flow_run(started.id)


@pytest.fixture
def passes(applied):
    """The deployment of `reconcile`, on which no flow run is left behind."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("reconcile/guardianflow").id
        yield client, deployment
        for run in runs_of(client, deployment):
            client.delete_flow_run(run.id)


def test_a_pass_is_made_every_ten_minutes_and_never_twice_at_once(passes):
    client, deployment = passes
    read = client.read_deployment(deployment)
    assert [s.schedule.interval.total_seconds() for s in read.schedules] == [
        PASS_EVERY.total_seconds()
    ]
    assert read.global_concurrency_limit.limit == 1
    assert read.concurrency_options.collision_strategy == "CANCEL_NEW"


def test_pools_that_another_process_has_just_made_are_taken_as_they_are(passes, monkeypatch):
    client, _ = passes
    pools = client.read_work_pools()

    def not_yet(name):
        raise ObjectNotFound(Exception(name))

    # As where a worker and `deployments.apply` look at the same moment.
    monkeypatch.setattr(client, "read_work_pool", not_yet)
    apply_pools(client)
    assert client.read_work_pools() == pools


def test_what_a_former_worker_left_running_is_crashed_in_its_own_pool(passes, applied):
    client, _ = passes
    ours = applied.submit("train/guardianflow", {"scenario": "donghwa-entec-ppe", "version": "v1"})
    theirs = applied.submit("rollback/guardianflow", {"model_name": NAME, "reason": "a test"})
    for run in (ours, theirs):
        client.set_flow_run_state(run.id, Running(), force=True)
    prepare_pool("guardianflow-train")
    assert applied.read(ours.id).state == "Crashed"
    assert applied.read(theirs.id).state == "Running"


def test_missed_passes_are_dropped_and_what_a_person_submitted_is_kept(passes, applied):
    client, deployment = passes
    submitted = applied.submit("reconcile/guardianflow", {"model_name": NAME})
    ago = datetime.now(UTC) - timedelta(hours=4)
    client.request(
        "POST",
        f"/deployments/{deployment}/schedule",
        json={
            "start_time": ago.isoformat(),
            "end_time": (ago + timedelta(minutes=200)).isoformat(),
        },
    )
    # The scheduler makes those of an hour at once, at least.
    assert len(runs_of(client, deployment)) > 5
    drop_missed_passes(client)
    assert [str(run.id) for run in runs_of(client, deployment)] == [submitted.id]


def test_old_passes_that_found_nothing_are_forgotten(passes):
    client, deployment = passes
    for name in ("AllWell", "Alarm"):
        run = client.create_flow_run_from_deployment(deployment)
        for state in (Running(), Completed(name=name)):
            client.set_flow_run_state(run.id, state, force=True)

    def left(age):
        forget_old_runs(str(deployment), datetime.now(UTC) + age)
        return sorted(run.state.name for run in runs_of(client, deployment))

    assert left(timedelta(minutes=50)) == ["Alarm", "AllWell"]
    assert left(timedelta(hours=2)) == ["Alarm"]
    assert left(timedelta(days=6)) == ["Alarm"]
    assert left(timedelta(days=8)) == []


def test_flow_runs_of_more_than_a_year_ago_are_forgotten_and_their_logs(passes, applied):
    client, deployment = passes
    rollback = client.read_deployment_by_name("rollback/guardianflow").id
    runs = [
        client.create_flow_run_from_deployment(rollback, parameters=ROLLBACK_OF) for _ in range(2)
    ]
    client.set_flow_run_state(runs[0].id, Completed(), force=True)

    def left(age):
        forget_old_runs(str(deployment), datetime.now(UTC) + age)
        return {run.id for run in runs_of(client, rollback)} & {run.id for run in runs}

    try:
        assert len(left(timedelta(days=364))) == 2
        # The other one has not ended.
        assert left(timedelta(days=366)) == {runs[1].id}
    finally:
        client.delete_flow_run(runs[1].id)


def runs_of(client, deployment):
    wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
    return [
        run
        for run in client.read_flow_runs(flow_run_filter=wanted)
        if not run.auto_scheduled or run.expected_start_time < datetime.now(UTC)
    ]
