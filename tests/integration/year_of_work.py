"""What `make up`'s flows leave in Prefect's database, made quickly: `python -m ...year_of_work`.

A process of its own: what it still has to send at its end is sent to the server of its test.
"""

import os
import time
import uuid

from prefect import flow, get_run_logger, tags, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.flow_engine import run_flow
from prefect.states import Completed, Running

from deployments.apply import apply
from flows.publishing import ProgressBar, send_event, show_page, show_pictures, show_table
from guardianflow.events import EventName, ModelEvent
from guardianflow.prefect_api.prefect_yaml import RECONCILE, ROLLBACK, TAG

KEYS = ("page", "table", "progress", "picture-night", "part", "pass")
NAME = "test/plant-of-a-year/welding/ppe"


@flow
def part():
    """As a training within a lifecycle."""
    show_page("part", "# Part", "")


@flow
def quiet_pass():
    """As a pass that found nothing: the status page is written where anything on it changed."""
    show_table("pass", [{"figure": str(uuid.uuid4())}], "")


@task
def step():
    """Logs, and shows how far it is."""
    get_run_logger().info("at work")
    bar = ProgressBar()
    for done in range(3):
        bar("step", done + 1, 3, "done")


@flow
def work(model_name: str):
    """As our flows: steps, a subflow, pages, pictures, an event on which an automation waits."""
    step()
    with tags(TAG):
        part()
    show_page("page", str(uuid.uuid4()), "")
    show_table("table", [{"figure": 1}], "")
    show_pictures("picture", {"night.png": "http://127.0.0.1:5999/night.png"})
    event = ModelEvent(model=model_name, version=2, report="0" * 32, incident="0" * 32)
    send_event(EventName.HEALTH_FAILING, event)


def main():
    """Bring the deployments, then do all that is forgotten later."""
    os.environ["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:5999"
    apply()
    with get_client(sync_client=True) as client:
        drill, passes, rollback = (
            client.read_deployment_by_name(name).id
            for name in ("drill/guardianflow", RECONCILE, ROLLBACK)
        )
        made = client.create_flow_run_from_deployment(drill, parameters={"model_name": NAME})
        run_flow(work, flow_run=client.read_flow_run(made.id))
        for name in ("AllWell", "Cancelled", "Alarm"):
            made = client.create_flow_run_from_deployment(passes)
            if name == "AllWell":
                run_flow(quiet_pass, flow_run=client.read_flow_run(made.id))
            end(client, made, name)
        end(client, started_by_the_automation(client, rollback), "RolledBack")


def end(client, run, name):
    """What a worker makes of a flow run."""
    for state in (Running(), Completed(name=name)):
        client.set_flow_run_state(run.id, state, force=True)


def started_by_the_automation(client, deployment):
    """The flow run that waits for a worker."""
    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Scheduled", "Late"])),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := client.read_flow_runs(flow_run_filter=wanted):
            return found[0]
        time.sleep(0.2)
    raise AssertionError("no automation started anything")


if __name__ == "__main__":
    main()
