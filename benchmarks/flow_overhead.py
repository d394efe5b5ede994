"""What flows add to a lifecycle: `python -m benchmarks.flow_overhead`, five minutes.

The same tiny training, quantization and two registrations on the same servers, in turns:

    plain   a process that calls TrainingRunner and QuantizationRunner
    flow    the deployment `lifecycle`, from its submission until its flow run is over

Each time another version of one scenario, so that nothing is found again. The difference is what
worker, second process, artifacts, events and logs cost; it does not grow with the training, so it
is told as a share of a job of ten minutes.
"""

import argparse
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.figures import RESULTS, Row, summary, tell
from benchmarks.reaction import shipped_servers
from blocks import MlflowCredentials, ScenarioConfig
from blocks.mlflow_credentials import DEFAULT_DOCUMENT
from deployments import CHECKOUT
from deployments.state import environment
from guardianflow.machine.servers import Servers
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.run_tokens import promotion_key
from guardianflow.scenario import ScenarioSpec
from testbed.tiny import tiny_spec

NAME = "flow-overhead"
JOB_S = 600.0
PLAIN = """
import sys
from guardianflow.lifecycle.quantization import QuantizationRunner
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import Scenario
from guardianflow.lifecycle.training import TrainingRunner
scenario = Scenario.model_validate_json(sys.stdin.read())
registry = ModelRegistryManager()
trained = TrainingRunner(scenario, registry).run()
QuantizationRunner(scenario, registry, trained.version).run()
"""


class Bench:
    """One scenario with as many versions as there are jobs, as file and as block."""

    def __init__(self, servers: Servers, jobs: int) -> None:
        assert servers.mlflow
        assert servers.prefect
        self._servers = servers
        self._orchestrator = Orchestrator(servers.prefect)
        versions = {f"v{number}": {"training": {"seed": number}} for number in range(1, jobs + 1)}
        plant = f"b{uuid.uuid4().hex[:8]}"
        self._spec: ScenarioSpec = tiny_spec(plant).model_copy(update={"versions": versions})
        with temporary_settings({PREFECT_API_URL: servers.prefect}):
            credentials = cast("MlflowCredentials", MlflowCredentials.load(DEFAULT_DOCUMENT))
            block = ScenarioConfig(**self._spec.model_dump(mode="json"), credentials=credentials)
            block.save(self._spec.name, overwrite=True)
        self._next = iter(versions)

    def plain(self) -> float:
        """Seconds of a process without any flow.

        Raises:
            RuntimeError: It failed; with what it said.
        """
        scenario = self._spec.version(next(self._next))
        state = Path(self._servers.source).parent
        env = environment(state, str(self._servers.mlflow), str(self._servers.prefect))
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", PLAIN],
            input=scenario.model_dump_json(),
            env=env,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the plain job failed: {done.stderr[-2000:]}")
        return time.perf_counter() - began

    def flow(self) -> float:
        """Seconds of the deployment; the promotion that it asks for is waited for, unmeasured.

        Raises:
            RuntimeError: Its flow run failed.
        """
        job = {"scenario": self._spec.name, "version": next(self._next)}
        began = time.perf_counter()
        run = self._orchestrator.submit("lifecycle/guardianflow", job)
        while not (done := self._orchestrator.read(run.id)).final:
            time.sleep(0.05)
        took = time.perf_counter() - began
        asked = self._orchestrator.find(promotion_key(run.id))
        if not done.ok or asked is None:
            raise RuntimeError(f"the lifecycle ended as {done.state}: {done.message}")
        self._orchestrator.follow(asked.id, lambda _: None)
        return took


def measure(servers: Servers, *, rounds: int) -> dict[str, Any]:
    """All figures of this benchmark; the first round draws the data set and does not count."""
    bench = Bench(servers, 2 * (rounds + 1))
    steps: dict[str, Callable[[], float]] = {"plain": bench.plain, "flow": bench.flow}
    first = {label: round(step(), 2) for label, step in steps.items()}
    seconds: dict[str, list[float]] = {label: [] for label in steps}
    draw = random.Random(4)
    for _ in range(rounds):
        for label in draw.sample(list(steps), len(steps)):
            seconds[label].append(steps[label]())
    return {"warm_up_s": first, **(compared(**seconds) if rounds else {})}


def compared(plain: Sequence[float], flow: Sequence[float]) -> dict[str, Any]:
    """Both series, and by how much the second is longer, with its 95 % interval over rounds."""
    more = np.subtract(flow, plain)
    drawn = np.random.default_rng(4).choice(more, size=(2000, len(more))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {
        "plain": summary(plain),
        "flow": summary(flow),
        "more_s": {
            "mean": round(float(more.mean()), 2),
            "low": round(float(low), 2),
            "high": round(float(high), 2),
        },
    }


def rows(content: Mapping[str, Any]) -> list[Row]:
    """What the page says of these figures."""
    more = content["more_s"]
    share = {key: 100 * value / JOB_S for key, value in more.items()}
    return [
        (
            "what flows add to a lifecycle, as a share of a job of ten minutes",
            "≤ 2 %",
            f"{share['mean']:.1f} % ({share['low']:.1f}–{share['high']:.1f}): "
            f"{more['mean']:.1f} s, {content['plain']['p50_ms'] / 1000:.1f} s without flows, p50 "
            f"of {content['plain']['n']}",
            "`python -m benchmarks.flow_overhead`",
        )
    ]


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flow_overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    with shipped_servers() as servers:
        figures = measure(servers, rounds=options.rounds)
    tell(NAME, figures, rows(figures), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
