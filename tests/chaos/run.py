"""The chaos run: clients, kill -9 at any moment, a server that dies; then the history is judged.

    python -m tests.chaos.run --database postgres --operations 300 --kills 100 --seed 7

The parent forks everybody and has no thread: it kills clients, starts the next life of each, and
kills and starts the MLflow server. When enough has happened, or the time is over, it lets everybody
end, asks again for the registrations whose outcome nobody knows, and judges each release. The
choices of a run follow from its seed; how they interleave does not.

Exit code: 0 all is well, 1 a violation or a defect was found, 2 the time was over before.
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version as version_of
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from guardianflow.errors import RegistryUnavailable
from guardianflow.mlflow_store.registered_models import TOKEN_TAG, read_aliases, read_versions
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.release_state import OperationRecord
from testbed.runs import make_run
from testbed.servers import MlflowServer, postgres_server
from tests.chaos.checker import Violation, check
from tests.chaos.clients import Client, Scene, meddle, perform, read_all_the_time
from tests.chaos.evidence import (
    Entry,
    Evidence,
    Intrusion,
    Journal,
    Sample,
    Version,
    calls_of,
    read_lines,
)

FORK = multiprocessing.get_context("fork")
_VARIANTS = ("__openvino_int8", "__openvino_int4")
_LOOK_S = 0.02
_END_S = 90


@dataclass(frozen=True)
class Plan:
    """How much is to happen."""

    database: str = "sqlite"
    operations: int = 300
    """Entries of the ledgers, at least."""
    kills: int = 100
    """Clients killed, at least."""
    restarts: int = 6
    """Times that the server is killed."""
    minutes: float = 20.0
    seed: int = 1
    clients: int = 3
    releases: int = 2
    hands: bool = False
    """Somebody moves and deletes aliases by hand."""


@dataclass
class Report:
    """What happened, and what is wrong with it."""

    plan: Plan
    seconds: float = 0.0
    operations: int = 0
    kills: int = 0
    restarts: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        plan = self.plan
        enough = self.operations >= plan.operations and self.kills >= plan.kills
        return enough and self.restarts >= plan.restarts

    def to_json(self) -> dict[str, object]:
        plan = self.plan
        return {
            "command": f"python -m tests.chaos.run --database {plan.database} --operations "
            f"{plan.operations} --kills {plan.kills} --restarts {plan.restarts} --minutes "
            f"{plan.minutes:g} --seed {plan.seed} --clients {plan.clients} --releases "
            f"{plan.releases}" + (" --hands" if plan.hands else ""),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} "
            f"{platform.release()}, Python {platform.python_version()}, "
            f"mlflow {version_of('mlflow')}",
            "seconds": round(self.seconds, 1),
            "complete": self.complete,
            "operations in the ledgers": self.operations,
            "clients killed with SIGKILL": self.kills,
            "kill -9 of the server": self.restarts,
            **self.counts,
            "violations": [str(violation) for violation in self.violations],
            "defects": self.defects,
        }


def run(plan: Plan, folder: Path) -> Report:
    """Let it happen, then judge it; the journals are left in the folder."""
    with ExitStack() as stack:
        uri = stack.enter_context(postgres_server()) if plan.database == "postgres" else None
        server = MlflowServer(folder, uri, web="uvicorn")
        server.prepare()
        server.start()
        stack.callback(server.stop)
        began = time.monotonic()
        scene = _set_up(plan, server.uri, folder)
        report = Report(plan)
        _Director(plan, scene, server, report).direct()
        _settle(scene)
        for base in scene.releases:
            evidence = gather(scene, base)
            report.operations += len(evidence.history)
            report.violations += check(evidence)
            _count(report, evidence)
        _count_the_rest(report, folder)
        report.seconds = time.monotonic() - began
        return report


def _set_up(plan: Plan, uri: str, folder: Path) -> Scene:
    releases = {
        base: [base, *(base + variant for variant in _VARIANTS[: 2 - number])]
        for number in range(plan.releases)
        for base in [f"chaos/plant-{number}/welding/ppe"]
    }
    run_id = make_run(ModelRegistryManager(uri).client, {"weights.bin": b"weights"})
    return Scene(
        uri,
        run_id,
        releases,
        folder,
        plan.seed,
        plan.hands,
        # Without locks: who is killed while holding one would stop all others.
        end=FORK.RawValue("i", 0),
        asked=FORK.RawArray("q", plan.clients),
    )


class _Director:
    """Starts, kills and starts again."""

    def __init__(self, plan: Plan, scene: Scene, server: MlflowServer, report: Report) -> None:
        self.plan, self.scene, self.server, self.report = plan, scene, server, report
        self.choice = random.Random(f"{plan.seed}-director")
        self.deadline = time.monotonic() + plan.minutes * 60
        self.lives: list[int] = [0] * plan.clients
        self.clients: list[ForkProcess] = []
        self.doomed: list[tuple[int, float]] = []
        """For each client: after how many requests it is to be killed, and how much later."""
        self.next_count = 0.0

    def direct(self) -> None:
        onlookers = [FORK.Process(target=read_all_the_time, args=(self.scene,))]
        if self.plan.hands:
            onlookers.append(FORK.Process(target=meddle, args=(self.scene,)))
        for onlooker in onlookers:
            onlooker.start()
        for slot in range(self.plan.clients):
            self.clients.append(self._start(slot))
            self.doomed.append(self._doom(slot))
        try:
            while time.monotonic() < self.deadline and not self._enough():
                self._kill_who_is_due()
                if self._server_is_due():
                    self._restart_server()
                time.sleep(_LOOK_S)
        except KeyboardInterrupt:
            print("interrupted: what has happened until now is judged", flush=True)
        finally:
            self.scene.end.value = 1
            for process in (*self.clients, *onlookers):
                process.join(_END_S)
                if process.exitcode is None:
                    self.report.defects.append(f"{process.name} did not end")
                    process.kill()
                    process.join()

    def _start(self, slot: int) -> ForkProcess:
        process = FORK.Process(target=_live, args=(self.scene, slot, self.lives[slot]))
        process.start()
        return process

    def _doom(self, slot: int) -> tuple[int, float]:
        # About every fourth request leads to an operation: much is refused, read or registered. The
        # kills are to come somewhat before the operations.
        mean = 3 * self.plan.operations / max(self.plan.kills, 1)
        requests = self.scene.asked[slot] + self.choice.randint(1, round(2 * mean))
        return requests, self.choice.uniform(0.0, 0.4)

    def _kill_who_is_due(self) -> None:
        for slot, (requests, later) in enumerate(self.doomed):
            process = self.clients[slot]
            if process.exitcode is not None:
                self.report.defects.append(f"client {slot} ended with {process.exitcode}")
            elif self.scene.asked[slot] < requests:
                continue
            else:
                time.sleep(later / 2)
                process.kill()
                self.report.kills += 1
            process.join()
            self.lives[slot] += 1
            self.clients[slot] = self._start(slot)
            self.doomed[slot] = self._doom(slot)

    def _server_is_due(self) -> bool:
        plan, report = self.plan, self.report
        if report.restarts >= plan.restarts:
            return False
        return report.kills * plan.restarts >= (report.restarts + 0.5) * plan.kills

    def _restart_server(self) -> None:
        self.server.kill()
        self.report.restarts += 1
        time.sleep(self.choice.uniform(0.0, 1.0))
        self.server.start()

    def _enough(self) -> bool:
        plan, report = self.plan, self.report
        if report.kills < plan.kills or report.restarts < plan.restarts:
            return False
        if time.monotonic() < self.next_count:
            return False
        self.next_count = time.monotonic() + 2
        try:
            client = ModelRegistryManager(self.scene.uri).client
            made = sum(Ledger(client, ModelName.parse(b)).read().seq for b in self.scene.releases)
        except RegistryUnavailable:
            return False
        return made >= plan.operations


def _live(scene: Scene, slot: int, life: int) -> None:
    # What MLflow says about a server that is down is of no interest here.
    with (scene.folder / "clients.log").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    Client(scene, slot, life).live()


def _settle(scene: Scene) -> None:
    """Ask again, with its token, for each registration that nobody knows about; mend by hand."""
    registry = ModelRegistryManager(scene.uri)
    journal = Journal(scene.folder / "client-settle.jsonl")

    def ask(asked: dict[str, Any]) -> None:
        journal.write(event="invoke", start=time.monotonic(), **asked)
        answer = perform(registry, scene.run_id, asked)
        line = {"event": "answer", "outcome": "ok", "answer": answer, "token": asked["token"]}
        journal.write(end=time.monotonic(), **line)

    for call in calls_of(_client_lines(scene.folder)):
        if call.kind == "register" and call.outcome == "unknown":
            asked = {"token": call.token, "kind": "register", "name": call.name}
            ask({**asked, **({} if call.source is None else {"source": call.source})})
    for base in scene.releases:
        ask({"token": f"end-{base}", "kind": "finish", "name": base})
        if scene.hands:
            ask({"token": f"rescue-{base}", "kind": "rescue", "name": base})
            ask({"token": f"repair-{base}", "kind": "repair", "name": base})


def gather(scene: Scene, base: str) -> Evidence:
    """Everything that is known about one release, from the journals and from the server."""
    client = ModelRegistryManager(scene.uri).client
    names = scene.releases[base]
    ledger = Ledger(client, ModelName.parse(base))
    records = [*ledger.past(ledger.read())]
    reader, hands = scene.folder / "reader.jsonl", scene.folder / "hands.jsonl"
    samples = [line for line in read_lines(reader) if line["name"] in names]
    return Evidence(
        base=base,
        calls=tuple(call for call in calls_of(_client_lines(scene.folder)) if call.name in names),
        history=tuple(_entry(record) for record in reversed(records)),
        aliases={name: read_aliases(client, ModelName.parse(name)) for name in names},
        versions=tuple(
            Version(name, info.version, info.tags.get(TOKEN_TAG, ""), info.source_version)
            for name in names
            for info in read_versions(client, ModelName.parse(name))
        ),
        samples=tuple(Sample(**line) for line in samples if not isinstance(line["champion"], str)),
        intrusions=tuple(
            Intrusion(**line)
            for line in (read_lines(hands) if hands.exists() else [])
            if line["name"] in names
        ),
    )


def _entry(record: OperationRecord) -> Entry:
    return Entry(
        seq=record.seq,
        kind=record.kind.value,
        name=record.name,
        before={name: place.champion for name, place in record.before.items()},
        after={name: place.champion for name, place in record.after.items()},
        rollback={name: place.rollback for name, place in record.after.items()},
        token=record.by.token,
        automatic=record.by.automatic,
    )


def _client_lines(folder: Path) -> list[dict[str, Any]]:
    return [line for path in sorted(folder.glob("client-*.jsonl")) for line in read_lines(path)]


def _count(report: Report, evidence: Evidence) -> None:
    counts = Counter(report.counts)
    counts.update(f"{call.kind} {call.outcome}" for call in evidence.calls)
    counts.update(f"ledger: {entry.kind}" for entry in evidence.history)
    counts["registered versions"] += len(evidence.versions)
    counts["looks at a champion"] += len(evidence.samples)
    counts["looks that found none"] += sum(s.champion is None for s in evidence.samples)
    counts["moved by hand"] += len(evidence.intrusions)
    done = {entry.token for entry in evidence.history}
    lost = [call.token for call in evidence.calls if call.outcome == "unknown"]
    counts["without an answer, in the ledger"] += len(done.intersection(lost))
    report.counts = dict(counts)


def _count_the_rest(report: Report, folder: Path) -> None:
    looks = read_lines(folder / "reader.jsonl")
    texts = Counter(look["champion"] for look in looks if isinstance(look["champion"], str))
    report.counts["looks while the server was away"] = texts.pop("unreachable", 0)
    report.defects += [f"the reader met {text}" for text in texts]
    lines = _client_lines(folder)
    report.defects += sorted({line["error"] for line in lines if line.get("defect")})
    report.counts = dict(sorted(report.counts.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    for name in ("operations", "kills", "restarts", "seed", "clients", "releases"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Plan, name))
    parser.add_argument("--minutes", type=float, default=Plan.minutes)
    parser.add_argument("--hands", action="store_true", help="somebody moves aliases by hand")
    parser.add_argument("--result", type=Path, help="where the summary is left as JSON")
    parser.add_argument("--keep", type=Path, help="folder for journals and server, to look at")
    options = vars(parser.parse_args(arguments))
    result, keep = options.pop("result"), options.pop("keep")
    plan = Plan(**options)
    print(f"chaos on {plan.database}, seed {plan.seed}, at most {plan.minutes:g} minutes")
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        folder.mkdir(parents=True, exist_ok=True)
        report = run(plan, folder)
    text = json.dumps(report.to_json(), indent=1, ensure_ascii=False)
    print(text)
    if result is not None:
        result.write_text(text + "\n", encoding="utf-8")
    if not report.complete:
        print("the time was over before as much happened as was asked for", file=sys.stderr)
    return 1 if report.violations or report.defects else 0


if __name__ == "__main__":
    sys.exit(main())
