"""Applying the deployments to a real Prefect API: typed, idempotent, bad values refused."""

import json

import pytest
from prefect.client.orchestration import get_client

from deployments.apply import POOLS, Expected, apply, check
from guardianflow.control import Orchestrator
from guardianflow.errors import InputError

NAME = "donghwa-entec/busan-plant1/welding/ppe"
FLOWS = {"train", "quantize", "lifecycle", "promote", "rollback", "check-health"}


@pytest.fixture(scope="module")
def applied(prefect_server):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5999")
        apply()
    return Orchestrator(prefect_server)


def state():
    """Everything that applying describes, without ids and times."""
    with get_client(sync_client=True) as client:
        flows = {flow.id: flow.name for flow in client.read_flows()}
        deployments = {
            flows[d.flow_id]: (d.name, d.entrypoint, d.work_pool_name, d.parameter_openapi_schema)
            for d in client.read_deployments()
        }
        automations = sorted(
            (a.name, a.enabled, a.trigger.model_dump_json(exclude={"id"}))
            for a in client.read_automations()
        )
        pools = [(name, client.read_work_pool(name).concurrency_limit) for name in POOLS]
        blocks = client.request("POST", "/block_documents/filter", json={}).json()
    documents = sorted((b["name"], b["updated"]) for b in blocks)
    return json.loads(json.dumps([deployments, automations, pools, documents], default=str))


def test_every_flow_has_one_typed_deployment(applied):
    deployments = state()[0]
    assert set(deployments) >= FLOWS
    for flow, (name, _, pool, schema) in deployments.items():
        assert name == "guardianflow"
        assert pool in POOLS
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
        expected = Expected.read()
        assert check(client, expected) == []
        wanted = Expected({**expected.deployments, "flows.absent.absent": "guardianflow"}, ("x",))
        problems = check(client, wanted)
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


def test_a_missing_deployment_says_how_it_comes_there(applied):
    with pytest.raises(InputError, match=r"deployments\.apply"):
        applied.submit("absent/guardianflow", {})
