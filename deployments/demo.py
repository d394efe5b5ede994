"""The whole life of a model on real parts, told on the terminal: `make demo`.

    v1 (day and night) -> approved -> champion
    v2 (day only)      -> passes the gate, whose images have no night -> approved -> champion
    a night window     -> v2 fails on it, measured -> the automation rolls back -> v1 again

No figure is injected: the promotions suspend until somebody answers, and the rollback is started by
the automation that every guardianflow server has. Where a verdict is not what the story needs, it
goes on as an operator would, and says so: a longer window, an overridden gate, a rollback by hand.
`benchmarks/demo_margin.py` measures how often that happens.
"""

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

from deployments import CHECKOUT
from deployments.local import locked, running, stop
from deployments.state import environment
from guardianflow.cli.output import Output, Terminal, at_terminal
from guardianflow.cli.show import print_history, print_models
from guardianflow.errors import AnswerInvalid, GateFailed, GuardianflowError, NothingWaiting
from guardianflow.evaluation.measurement import measure_version
from guardianflow.health.report import ANSWER_TAG, NAME_TAG, VERDICT_TAG, find_reports
from guardianflow.machine.polling import look_until
from guardianflow.machine.servers import Servers, home, private_home
from guardianflow.prefect_api.control import (
    FlowRunInfo,
    Orchestrator,
    WaitingApproval,
)
from guardianflow.prefect_api.prefect_yaml import CHECK_HEALTH, LIFECYCLE, PROMOTION, ROLLBACK
from guardianflow.prefect_api.run_tokens import promotion_key
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import Light, ScenarioSpec
from guardianflow.scenario.file import load_spec
from guardianflow.scenario.spec import merge_settings
from guardianflow.vision.data.dataset import open_dataset
from guardianflow.vision.metrics.pictures import comparison_sheet
from guardianflow.vision.synthetic import draw_window

SCENARIO = "demo"
WINDOW_IMAGES = (32, 64, 128)
"""Frames of the night window, and of longer ones while the verdict is in doubt."""
WINDOW_SEED = 20_261_123
ROLLBACK_TIMEOUT_S = 120.0
# Two Python starts and up to four measurements, on a machine that may be busy.
QUESTION_TIMEOUT_S = 180.0
_PICTURED = 4
_PREFECTS_OWN = ("Downloading flow code", "Finished in state", "Beginning", "Suspending")

# The champion of each name: the base and its variant.
Release = Mapping[str, int]

Found = TypeVar("Found")

# A file has no width: nothing is wrapped or cut for it.
console = Terminal(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)


class Story:
    """Tells one run of the demo and how long each step took."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        self._told: set[tuple[str, str]] = set()
        self.registry = ModelRegistryManager(servers.mlflow)
        self.orchestrator = Orchestrator(servers.prefect)
        self.folder = folder
        self.scenario = demo_spec().version("v1")
        self.name = self.scenario.model_name.public
        self.variant = self.scenario.get_registered_model_name(self.scenario.quantization.flavour())

    def tell(self) -> None:
        """Everything, in order.

        Raises:
            GuardianflowError: A step did not do what it is there for.
        """
        first = self._release("v1", "learns from day and night")
        second = self._release("v2", "learns only from the day shift")
        chapter("night falls: a window of recent labelled frames arrives")
        verdict = self._watch()
        chapter("the automation acts" if verdict == "FAILING" else "a person acts")
        began, since = time.monotonic(), "the report"
        if why := self._why_by_hand(verdict, first):
            began, since = time.monotonic(), "it was asked for"
            self._roll_back_by_hand(why)
        self._await_rollback(first, second, began, since)
        verdict = self._watch()
        if verdict != "HEALTHY":
            aside(
                f"On this machine version 1 is {verdict} at night, too: an operator would train "
                "with more night scenes, or ask for another camera."
            )
        self._close(self._night_window(WINDOW_IMAGES[0]), first, second)

    def _release(self, version: str, what: str) -> Release:
        """Train, quantize, register and ask for one scenario version; returns the champions."""
        chapter(f"scenario {version}: {what}")
        done = _well(self._run(LIFECYCLE, {"scenario": SCENARIO, "version": version}))
        waiting = self._await_question(done.id)
        console.print(f"[bold]A person is asked:[/] {waiting.headline}")
        console.print(f"  {waiting.url}")
        self.answer(waiting)
        _well(self._follow(waiting.flow_run_id))
        champion = self.registry.get_champion(self.name)
        if champion is None or champion.version != waiting.version:
            raise GuardianflowError(
                f"{self.name} version {waiting.version} was not promoted; nothing more to show.",
                remedy="The answer was a rejection, perhaps: run `make demo` again and approve.",
            )
        self.show_aliases()
        return self._champions()

    def _champions(self) -> Release:
        """Which version of the base and of its variant is in production now."""
        found = {name: self.registry.get_champion(name) for name in (self.name, self.variant)}
        return {name: champion.version for name, champion in found.items() if champion}

    def _run(
        self, deployment: str, parameters: Mapping[str, object], *, timeout_s: float | None = None
    ) -> FlowRunInfo:
        """Start a deployment and follow its flow run."""
        run = self.orchestrator.submit(deployment, parameters)
        return self._follow(run.id, run, timeout_s=timeout_s)

    def _follow(
        self, run_id: str, new: FlowRunInfo | None = None, *, timeout_s: float | None = None
    ) -> FlowRunInfo:
        """Print what a flow run says until it rests, and where it is if it is `new`."""
        if new:
            console.print(f"  flow run {new.name}: {new.url}", style="dim")

        def log(line: str) -> None:
            # What Prefect says about itself is in its UI; here it would hide the story.
            # A run that waited is followed twice; what it said before is not said again.
            if not line.startswith(_PREFECTS_OWN) and (run_id, line) not in self._told:
                self._told.add((run_id, line))
                console.print(f"  {line}", markup=False)

        return self.orchestrator.follow(run_id, log, timeout_s=timeout_s)

    def _await_question(self, lifecycle_id: str) -> WaitingApproval:
        """Follow the promotion that a lifecycle submitted until it asks.

        Raises:
            GuardianflowError: It ended without a question, or the time is over.
        """
        promotion = self.orchestrator.find(promotion_key(lifecycle_id))
        if promotion is None:
            raise GuardianflowError(f"Lifecycle {lifecycle_id} has submitted no promotion.")
        asked = self._follow(promotion.id, promotion, timeout_s=QUESTION_TIMEOUT_S)
        if asked.final and GateFailed.__name__ in asked.message:
            asked = self._ask_although(asked.message)
        if not asked.waiting:
            how = f"ended as {asked.state}" if asked.final else f"is {asked.state} still"
            raise GuardianflowError(
                f"The promotion asks nobody: flow run {asked.name} {how}. {asked.message}",
                remedy=f"See {asked.url} and the logs in {self.folder / 'logs'}.",
            )
        return poll(
            lambda: next(
                (w for w in self.orchestrator.pending() if w.flow_run_id == asked.id), None
            ),
            "the promotion's question",
        )

    def _ask_although(self, refusal: str) -> FlowRunInfo:
        """Ask in spite of the gate, as an engineer may with a reason, which the form shows."""
        aside(f"On this machine the gate refuses: {refusal}\n  The demo asks all the same.")
        reason = "the demo goes on although the gate refuses"
        asked = {"model_name": self.name, "requested_by": "demo", "reason": reason, "force": True}
        return self._run(PROMOTION, asked, timeout_s=QUESTION_TIMEOUT_S)

    def answer(self, waiting: WaitingApproval) -> None:
        """Let the person answer, here or in the browser; without one, `demo` answers by the API."""
        if at_terminal():
            console.print("Answer in the Prefect UI at this address, or here:")
            try:
                decision = console.input(
                    "  [bold]approve / reject[/] (Enter: answered in the UI) > "
                )
            except EOFError:  # Ctrl-D: nothing is said here.
                decision = ""
            if decision.strip() not in ("approve", "reject"):
                poll(lambda: not self._waits(waiting), "the answer in the UI", timeout_s=3600)
                return
            approver, reason = "person at the terminal", "answered in the demo"
        else:
            console.print("  no terminal: answered by the API as 'demo'")
            decision, approver, reason = "approve", "demo", "the demo approves what the gate passed"
        try:
            self.orchestrator.answer(waiting.flow_run_id, decision.strip(), approver, reason)
        except (NothingWaiting, AnswerInvalid):
            # The person was faster, in the browser.
            if self._waits(waiting):
                raise

    def _waits(self, waiting: WaitingApproval) -> bool:
        return any(w.flow_run_id == waiting.flow_run_id for w in self.orchestrator.pending())

    def _night_window(self, images: int) -> Path:
        """Draw the first so many frames of the night."""
        window = self.folder / "windows" / f"night-{images}"
        if not window.is_dir():
            draw_window(
                window,
                self.scenario.classes,
                light=Light.NIGHT,
                images=images,
                seed=WINDOW_SEED,
                image_size=self.scenario.training.image_size,
            )
        console.print(f"  {images} frames: {window}")
        return window

    def _watch(self) -> str:
        """Let the deployment measure the champion of the edge boxes at night.

        Returns:
            FAILING or HEALTHY, or INCONCLUSIVE where the longest window leaves it in doubt, too.
        """
        verdict = "INCONCLUSIVE"
        for images in WINDOW_IMAGES:
            verdict = self._check(self._night_window(images))
            if verdict != "INCONCLUSIVE":
                break
            console.print("  In doubt: more frames are needed, as an operator would collect them.")
        return verdict

    def _check(self, window: Path) -> str:
        champion = self.registry.get_champion(self.variant)
        console.print(
            f"[bold]check-health[/] {self.variant} version {champion.version if champion else '-'}"
        )
        _well(self._run(CHECK_HEALTH, {"model_name": self.variant, "window": str(window)}))
        verdict = self._last_report().get(VERDICT_TAG, "-")
        console.print(f"  verdict: [bold]{verdict}[/]")
        return verdict

    def _why_by_hand(self, verdict: str, good: Release) -> str:
        """Why no automation goes back, in a sentence; '' where one has gone."""
        if verdict != "FAILING":
            return f"Version 2 is {verdict} at night, so no automation goes back."

        def answer() -> str:
            return self._last_report().get(ANSWER_TAG, "")

        poll(
            lambda: self._champions() == good or answer(),
            "the rollback",
            timeout_s=ROLLBACK_TIMEOUT_S,
        )
        # It is noted after the aliases have moved.
        return "" if self._champions() == good else f"The automation does not go back: {answer()}"

    def _roll_back_by_hand(self, why: str) -> None:
        """Go back as a person does where the automation is in doubt."""
        aside(f"On this machine: {why}\n  A person may go back all the same: this is how.")
        reason = "the demo shows the way back although no automation takes it"
        _well(self._run(ROLLBACK, {"model_name": self.name, "reason": reason}))

    def _last_report(self) -> Mapping[str, str]:
        """The tags of the newest health report about the edge boxes' model; none without one."""
        found = find_reports(self.registry.client, {NAME_TAG: self.variant}, limit=1)
        return found[0].data.tags if found else {}

    def _await_rollback(self, good: Release, bad: Release, began: float, since: str) -> None:
        # The base and its variant move one after the other.
        poll(lambda: self._champions() == good, "the rollback", timeout_s=ROLLBACK_TIMEOUT_S)
        console.print(
            f"  rolled back: version {bad[self.name]} -> {good[self.name]}, "
            f"{time.monotonic() - began:.1f} s after {since}",
            style="green",
        )
        # The marks on the versions are written after the aliases.
        poll(
            lambda: all(m.candidate_status for m in self.registry.list_models()),
            "the quarantine of what was rolled back",
        )
        self.show_aliases()

    def show_aliases(self) -> None:
        """Print which version each alias of each model names now."""
        print_models(Output(), self.registry.list_models())

    def _close(self, window: Path, good: Release, bad: Release) -> None:
        chapter("what happened")
        print_history(Output(), self.scenario.model_name, self.registry.history(self.name))
        for path in self._pictures(window, good, bad):
            console.print(f"picture: {path}")

    def _pictures(self, window: Path, good: Release, bad: Release) -> list[Path]:
        """Draw what both releases see in the same night frames."""
        dataset = open_dataset(window, self.scenario.classes)
        samples = dataset.splits["test"]
        paths: list[Path] = []
        for name, flavour in ((self.name, "fp32"), (self.variant, "int8")):
            seen = {
                f"version {release[name]} (scenario {label})": measure_version(
                    self.registry, name, release[name], samples, dataset.classes
                )
                for release, label in ((bad, "v2"), (good, "v1"))
            }
            for title, measured in seen.items():
                console.print(
                    f"  night window, {flavour} {title}: mAP50 {measured.evaluation.map50:.3f}"
                )
            path = self.folder / "pictures" / f"night-{flavour}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            comparison_sheet(
                samples[:_PICTURED],
                {title: m.seen.shown()[:_PICTURED] for title, m in seen.items()},
                dataset.classes,
                path,
            )
            paths.append(path)
        return paths


def chapter(title: str) -> None:
    """Begin a chapter of the story."""
    console.print()
    console.rule(f"[bold]{title}", align="left")


def aside(text: str) -> None:
    """Say that the story does not go as told."""
    console.print(f"  {text}", style="yellow", markup=False)


def poll(look: Callable[[], Found | None], what: str, *, timeout_s: float = 60.0) -> Found:
    """Look again until there is something.

    Raises:
        GuardianflowError: Nothing came within the time.
    """
    if found := look_until(look, every_s=0.5, timeout_s=timeout_s):
        return found
    raise GuardianflowError(f"Waited {timeout_s:.0f} s in vain for {what}.")


def _well(run: FlowRunInfo) -> FlowRunInfo:
    """The flow run, unless it failed.

    Raises:
        GuardianflowError: It did.
    """
    if run.final and not run.ok:
        raise GuardianflowError(
            f"Flow run {run.name} ended as {run.state}: {run.message}", remedy=f"See {run.url}"
        )
    return run


def stop_on_termination() -> None:
    """Let SIGTERM and a closed terminal end the demo as Ctrl-C does, which stops the servers."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def print_plain(line: str) -> None:
    """Print what the start and the end of the servers report."""
    console.print(line, markup=False)


def _clear(state: Path) -> None:
    """Remove what the last demo left: the story begins on a fresh registry."""
    if state.is_dir():
        # `up --demo` may still run on it.
        stop(state, say=print_plain)
    shutil.rmtree(state, ignore_errors=True)


def demo_spec(seed: int | None = None) -> ScenarioSpec:
    """The demo's scenario, of `deployments/demo.yaml`: not a seed, since no plant needs it.

    Args:
        seed: Trains every version from this seed instead of the scenario's.
    """
    spec = load_spec(SCENARIO, CHECKOUT / "deployments")
    if seed is None:
        return spec
    common = merge_settings(spec.common, {"training": {"seed": seed}})
    return spec.model_copy(update={"common": common})


def save_scenario(spec: ScenarioSpec) -> None:
    """Save the demo's scenario as a block of the demo's own server."""
    # Prefect reads the environment when it is imported: after the servers' addresses are known.
    from blocks import MlflowCredentials, ScenarioConfig
    from blocks.mlflow_credentials import DEFAULT_DOCUMENT

    credentials = cast("MlflowCredentials", MlflowCredentials.load(DEFAULT_DOCUMENT))
    block = ScenarioConfig(**spec.model_dump(mode="json"), credentials=credentials)
    block.save(spec.name, overwrite=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo from a clean state; leaves data and pictures, but no process."""
    parser = argparse.ArgumentParser(prog="python -m deployments.demo", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seed", type=int, help="of the trainings, instead of the scenario's")
    wanted = parser.parse_args(arguments)
    stop_on_termination()
    started = time.monotonic()
    state = home() / "demo"
    console.print(f"guardianflow demo; everything it leaves is in {state}")
    try:
        with locked(private_home() / "demo.lock", f"Another demo is at work on {state}."):
            _clear(state)
            # The first flow run is that of the story.
            with running(state, prove=False, say=print_plain) as servers:
                os.environ.update(environment(state, servers.mlflow or "", servers.prefect or ""))
                save_scenario(demo_spec(wanted.seed))
                Story(servers, state).tell()
    except KeyboardInterrupt:
        console.print("interrupted; nothing is left running", style="yellow")
        return 130
    except GuardianflowError as error:
        console.print(f"error: {error}", style="red", markup=False)
        return error.exit_code
    console.print(f"\ndone in {time.monotonic() - started:.0f} s; nothing is left running")
    console.print(
        "look at it in the two UIs:  [bold].venv/bin/python -m deployments.local up --demo"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
