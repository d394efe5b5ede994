"""How long a failing champion stays, and an answer waits: `python -m benchmarks.reaction`.

On servers, workers, deployments and the automation as `make up` starts them, on free ports:

    event      failing event -> @champion restored, through the automation and a flow run
    in_process the same decision by `roll_back_failing` in a process that is there already
    window     last window complete -> measured -> event -> restored, on frames and a real network
    answer     the answer, as the form in the UI sends it -> @champion moved

Each try has a release of its own, and begins when the one before is past: a champion fails alone.
The states of its flow run tell what the time is spent on. Where the system has PostgreSQL, events
and answers are timed with Prefect on that, too: there writers do not get in each other's way. About
twenty minutes.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from benchmarks.figures import RESULTS, Row, quantile, summary, tell
from benchmarks.plant import SMALL, Plant
from benchmarks.spoiled import Trained, blinded, kept, learn, released, scenario
from deployments import local, state
from guardianflow.events import EventName, ModelEvent
from guardianflow.health.reaction import roll_back_failing
from guardianflow.health.window import check_health
from guardianflow.machine.servers import Servers
from guardianflow.names import ModelName
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.registry.rotation.aliases import set_candidate
from guardianflow.scenario import HealthPolicy, Light, Scenario
from guardianflow.vision.synthetic import draw_window
from testbed.reports import keep_report
from testbed.servers import POSTGRES, signed_in, system_postgres

NAME = "reaction"
_DEADLINE_S = 120.0
# Two requests to MLflow each time: more often, and looking costs the servers more than reacting.
_POLL_S = 0.2
# Until what the flow run before wrote, logs and states, is written.
_PAUSE_S = 4.0
Try = tuple[timedelta, dict[str, timedelta]]
"""How long one try took, and the steps that it is made of."""
_GOALS = (
    (
        "event",
        "failing event → champions restored, through the automation",
        "p95 ≤ 8 s, p50 ≤ 5 s",
    ),
    ("in_process", "the same decision in a process that is there already", "p95 ≤ 2 s"),
    ("answer", "answer sent as the form does → champion moved", "p95 ≤ 10 s"),
)
_STEPS = ("the automation starts a flow run", "a worker takes it", "its process runs the flow")


@contextmanager
def shipped_servers(database: str = "") -> Generator[Servers]:
    """Everything that `make up` starts, in a folder that is removed afterwards.

    Args:
        database: Address of Prefect's database; '' is SQLite, as shipped.
    """
    with (
        tempfile.TemporaryDirectory(prefix="guardianflow-bench-") as text,
        patch.dict(os.environ, {"GUARDIANFLOW_HOME": text, state.DATABASE: database}),
        local.running(Path(text) / "up") as servers,
        signed_in(servers),
    ):
        yield servers


@dataclass
class Series:
    """The tries of one kind: seconds of each, and the steps that they are made of."""

    seconds: list[float] = field(default_factory=list[float])
    steps: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def add(self, took: timedelta, steps: Mapping[str, timedelta]) -> None:
        """One try."""
        self.seconds.append(took.total_seconds())
        for step, part in steps.items():
            self.steps.setdefault(step, []).append(part.total_seconds())

    def figures(self) -> dict[str, Any]:
        """What is written of them."""
        steps = {step: round(quantile(parts, 0.5), 2) for step, parts in self.steps.items()}
        return {**summary(self.seconds), "p50_s_of_steps": steps}


class Floor:
    """Releases on the servers, what happens to them, and when."""

    def __init__(self, servers: Servers) -> None:
        assert servers.mlflow
        assert servers.prefect
        self.plant = Plant(servers.mlflow)
        self.orchestrator = Orchestrator(servers.prefect)
        login = servers.account["PREFECT_API_AUTH_STRING"]
        self._prefect = SyncPrefectClient(servers.prefect, auth_string=login)

    def two_champions(self) -> ModelName:
        """A twin release whose version 2 is champion, with a way back."""
        name = self.plant.new_release()
        for _ in range(2):
            self.plant.new_version(name)
            self.plant.registry.promote_to_champion(name, reason="benchmark")
        return name

    def event(self) -> Try:
        """A failing event, until both names of the release are back."""
        name = self.two_champions()
        report = keep_report(self.plant.client, name.public, 2, operation=2)
        time.sleep(_PAUSE_S)
        payload = ModelEvent(model=name.public, version=2, report=report, incident=report)
        began = datetime.now(UTC)
        self.orchestrator.emit(EventName.HEALTH_FAILING, payload)
        ended = self.moved(name, 1)
        return ended - began, self.steps(self.run_about(name, "rollback"), began, ended)

    def in_process(self) -> Try:
        """The same decision without a flow run."""
        name = self.two_champions()
        report = keep_report(self.plant.client, name.public, 2, operation=2)
        began = datetime.now(UTC)
        roll_back_failing(self.plant.registry, name, 2, report)
        return datetime.now(UTC) - began, {}

    def answer(self) -> Try:
        """The answer to a promotion's question, until the version is champion."""
        name = self.plant.new_release()
        set_candidate(self.plant.client, name, self.plant.bare_version(name, SMALL))
        asked = self.orchestrator.submit("promote/guardianflow", {"model_name": name.public})
        until(lambda: self.orchestrator.read(asked.id).waiting)
        began = datetime.now(UTC)
        self.orchestrator.answer(asked.id, "approve", "benchmark", "a benchmark")
        ended = self.moved(name, 1)
        run = self._prefect.read_flow_run(UUID(asked.id))
        return ended - began, self.steps(run, began, ended)

    def window(self, trained: Trained, blind: str, folder: Path) -> Try:
        """The last of so many failing windows as the default policy asks for, until it is back."""
        name = released(trained, blind)
        policy, number = HealthPolicy(), len(list(folder.iterdir()))
        windows = [drawn(trained, folder, number + one) for one in range(policy.consecutive)]
        for one in windows[:-1]:
            check_health(self.plant.registry, name, one, token=f"{name}-{one.name}")
        began = datetime.now(UTC)
        last = {"model_name": name.public, "window": str(windows[-1])}
        self.orchestrator.submit("check-health/guardianflow", last)
        ended = self.moved(name, 1)
        run = self.run_about(name, "rollback")
        checked = self.run_about(name, "check-health")
        assert run.created
        steps = self.steps(checked, began, run.created)
        return ended - began, {**steps, "from the rollback's flow run on": ended - run.created}

    def moved(self, name: ModelName, version: int) -> datetime:
        """When @champion named the version, of every name of the release that has versions."""

        def look() -> datetime | None:
            found = [
                champion.version
                for one in (name, name.variant("openvino_int8"))
                if (champion := self.plant.registry.get_champion(one))
            ]
            return datetime.now(UTC) if found and set(found) == {version} else None

        return until(look)

    def run_about(self, name: ModelName, flow: str) -> FlowRun:
        """The flow run of a flow about a model, when it is over; there has to be one."""

        def look() -> FlowRun | None:
            runs = self._prefect.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            )
            mine = [run for run in runs if run.parameters["model_name"] == name.public]
            return mine[0] if mine and mine[0].state and mine[0].state.is_final() else None

        return until(look)

    def steps(self, run: FlowRun, began: datetime, ended: datetime) -> dict[str, timedelta]:
        """What the time from `began` to `ended` is made of."""
        states = self._prefect.read_flow_run_states(run.id)
        times = [
            max(s.timestamp for s in states if s.type is kind)
            for kind in (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING)
        ]
        marks = [began, *times, ended]
        return {
            step: after - before
            for step, (before, after) in zip((*_STEPS, "it acts"), pairwise(marks), strict=True)
        }


def until(look: Callable[[], Any]) -> Any:
    """Look again until there is something."""
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(_POLL_S)
    raise RuntimeError(f"nothing came within {_DEADLINE_S:.0f} s")


def drawn(trained: Trained, folder: Path, seed: int) -> Path:
    """A window of as many labelled frames by day as the default policy asks for."""
    window = folder / f"window-{seed}"
    draw_window(
        window,
        trained.scenario.classes,
        light=Light.DAY,
        images=HealthPolicy().min_images,
        seed=seed,
        image_size=trained.scenario.training.image_size,
    )
    return window


def measure(
    servers: Servers, *, tries: int, windows: int, learned: Scenario | None = None
) -> dict[str, Any]:
    """All figures of this benchmark.

    Args:
        servers: What `make up` started.
        tries: How many events, decisions in process and answers.
        windows: How many champions that fail on frames.
        learned: What the network for these is trained from.
    """
    floor = Floor(servers)
    series = {name: Series() for name in ("event", "in_process", "answer", "window")}
    if tries > 1:
        # The first finds caches cold, here and on the servers.
        floor.event()
    for _ in range(tries):
        series["event"].add(*floor.event())
        series["in_process"].add(*floor.in_process())
    for _ in range(tries):
        series["answer"].add(*floor.answer())
    if windows:
        trained = learn(floor.plant.registry, learned or scenario())
        blind = kept(trained, blinded(trained))
        with tempfile.TemporaryDirectory() as text:
            for _ in range(windows):
                series["window"].add(*floor.window(trained, blind, Path(text)))
    found = {name: one.figures() for name, one in series.items() if one.seconds}
    return {"windows_in_a_row": HealthPolicy().consecutive, **found}


def rows(content: Mapping[str, Any]) -> list[Row]:
    """What the page says of these figures."""
    command = "`python -m benchmarks.reaction`"
    found = [(what, goal, _told(content[key]), command) for key, what, goal in _GOALS]
    if other := content.get("on_postgres"):
        found += [
            (f"{what}; Prefect on PostgreSQL", goal, _told(other[key]), command)
            for key, what, goal in _GOALS
            if key != "in_process"
        ]
    if "window" in content:
        row, last = content["windows_in_a_row"], content["window"]
        found.append(
            (
                f"first bad frame → restored, default policy ({row} failing windows in a row)",
                "stated",
                f"{row} to {row + 1} windows, as long as the site makes them, and then "
                f"{_told(last)} from the last frame on",
                command,
            )
        )
    return found


def _told(one: Mapping[str, Any]) -> str:
    steps = ", ".join(f"{step} {part:.1f} s" for step, part in one["p50_s_of_steps"].items())
    p50, p95 = one["p50_ms"] / 1000, one["p95_ms"] / 1000
    return f"p95 {p95:.1f} s, p50 {p50:.1f} s of {one['n']}" + (f" ({steps})" if steps else "")


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reaction", description=__doc__)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    with shipped_servers() as servers:
        figures = measure(servers, tries=options.tries, windows=options.windows)
    if POSTGRES:
        with system_postgres() as database, shipped_servers(database) as servers:
            figures["on_postgres"] = measure(servers, tries=options.tries, windows=0)
    tell(NAME, figures, rows(figures), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
