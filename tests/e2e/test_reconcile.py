"""What the worker watches on the embedded servers: what is done by hand is reported in time."""

from datetime import UTC, datetime

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterStartTime,
)
from prefect.client.schemas.sorting import FlowRunSort

from guardianflow.events import EventName
from guardianflow.monitoring.findings import FindingCode
from guardianflow.monitoring.prefect_checks import examine_prefect
from tests.e2e.plant import events_about, until
from tests.integration.releases import Releases, registered


def passes_since(prefect, deployment, since):
    """The flow runs that began to look since then, in their order."""
    found = prefect.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]),
            start_time=FlowRunFilterStartTime(after_=since),
        ),
        sort=FlowRunSort.START_TIME_ASC,
    )
    # One that still waits has no such time, and one that found another at work never looked.
    started = [run for run in found if run.start_time and run.start_time > since]
    return [run for run in started if not run.state.is_cancelled()]


def test_what_make_up_started_lacks_nothing(plant):
    until(lambda: plant.orchestrator.last_ended("reconcile"))
    found = {
        one.code for one in examine_prefect(plant.orchestrator.server_state(), datetime.now(UTC))
    }
    # What other tests here do to the servers is none of it.
    assert found <= {
        FindingCode.NOBODY_TOLD,
        FindingCode.PASS_LATE,
        FindingCode.AUTOMATION_FAILED,
        FindingCode.RUNS_WAIT,
    }


def test_an_alias_moved_by_hand_is_reported_by_the_next_pass(
    embedded, prefect, plant, tmp_path, monkeypatch
):
    _, servers = embedded
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path))
    releases = Releases(servers.mlflow, tmp_path)
    name = releases.release()
    # The worst case: a pass has just looked.
    began = datetime.now(UTC)
    until(lambda: (last := plant.orchestrator.last_ended("reconcile")) and last.ended > began)
    releases.client.set_registered_model_alias(registered(name), "champion", "1")
    moved = datetime.now(UTC)
    (alarm,) = until(lambda: events_about(prefect, EventName.ALARM, name))
    # How long that takes says more of the machine than of the schedule: passes are counted.
    (sender,) = [
        related["prefect.resource.id"].removeprefix("prefect.flow-run.")
        for related in alarm["related"]
        if related["prefect.resource.role"] == "flow-run"
    ]
    deployment = prefect.read_deployment_by_name("reconcile/guardianflow")
    later = passes_since(prefect, deployment, moved)
    # One that was at work when the alias moved may have seen it, too.
    first = later[0] if later else None
    told = prefect.read_flow_run(sender)
    assert told.start_time <= moved or told.id == first.id
    took = datetime.fromisoformat(alarm["occurred"]) - moved
    waited = told.start_time - moved
    print(
        f"alias moved by hand -> alarm: {took.total_seconds():.1f} s, "
        f"{waited.total_seconds():.1f} s of them until the pass began"
    )
    assert alarm["payload"]["message"].startswith(f"@champion of {name} was moved by hand")
    releases.registry.repair(name, "ledger", reason="the test is over")
