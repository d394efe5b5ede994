"""The embedded servers with one tiny scenario on them, and what tests do with them."""

import os
import signal
import time

from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.sorting import FlowRunSort

from deployments import local
from guardianflow.events import resource
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.registry import ModelRegistryManager
from testbed.tiny import save_scenario

DEADLINE_S = 180


class Plant:
    """The embedded servers with one tiny scenario on them."""

    def __init__(self, state_dir, servers, plant):
        self.state_dir = state_dir
        self.orchestrator = Orchestrator(servers.prefect)
        self.registry = ModelRegistryManager(servers.mlflow)
        self.spec = self.save(plant, servers)
        self.name = self.spec.version("v1").model_name.public

    def save(self, plant, servers):
        from prefect.settings import PREFECT_API_URL, temporary_settings

        from blocks import MlflowCredentials
        from blocks.mlflow_credentials import DEFAULT_DOCUMENT

        with temporary_settings({PREFECT_API_URL: servers.prefect}):
            return save_scenario(plant, MlflowCredentials.load(DEFAULT_DOCUMENT))

    def champion(self, name=None):
        found = self.registry.get_champion(name or self.name)
        return found.version if found else None

    def run(self, flow, **parameters):
        """Submit a deployment and wait until it is over or asks a person."""
        started = self.orchestrator.submit(f"{flow}/guardianflow", parameters)
        lines = []
        done = self.orchestrator.follow(started.id, lines.append)
        assert done.ok or done.waiting, (done, lines)
        return done

    def release(self, version):
        """A lifecycle up to the question, which is left open."""
        self.run("lifecycle", scenario=self.spec.name, version=version)
        return until(lambda: self.asked(self.name))

    def asked(self, name):
        return next((w for w in self.orchestrator.pending() if w.model_name == name), None)

    def approve(self, waiting):
        self.orchestrator.answer(waiting.flow_run_id, "approve", "Kim Minji", "an e2e test")
        assert self.orchestrator.follow(waiting.flow_run_id, lambda _: None).ok

    def kill(self, part):
        """kill -9 of everything in the group of one part."""
        record = local.State.read(self.state_dir).pids[part]
        os.killpg(record.pid, signal.SIGKILL)
        until(lambda: part not in local.State.read(self.state_dir).running())


def events_about(prefect, event, name):
    """The events of one kind about a model that the server has, the newest fifty at most."""
    wanted = {
        "event": {"name": [event.value]},
        "resource": {"id": [resource(name)["prefect.resource.id"]]},
    }
    answer = prefect.request("POST", "/events/filter", json={"filter": wanted})
    return answer.json()["events"]


def rollbacks_of(prefect, name):
    """The flow runs of `rollback` that were started for a model."""
    runs = prefect.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["rollback"])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
    )
    return [run for run in runs if run.parameters["model_name"] == name]


def until(look, deadline_s=DEADLINE_S):
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError("nothing came in time")
