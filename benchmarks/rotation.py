"""What promote and roll back cost beside the bare alias writes: `python -m benchmarks.rotation`.

On one MLflow server, in the same rounds and in changing order, a twin release (base + INT8) is
promoted twice and rolled back once by three ways:

    guardianflow   the whole operation; the time of the file checks is taken apart
    client         the same moves by MlflowClient's alias writes, two requests each
    request        the same moves by one HTTP request each, the least that there can be

Then the HTTP requests of every operation are counted, on small and on grown releases.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mlflow.store.model_registry.rest_store import RestStore
from mlflow.utils.credentials import get_default_host_creds
from typer.testing import CliRunner

from benchmarks.figures import RESULTS, Row, quantile, ratio, summary, tell, told
from benchmarks.http_calls import Call, recorded, table
from benchmarks.plant import FLAVOUR, SMALL, Plant, plant_on
from guardianflow.mlflow_store.artifacts import verify_version
from guardianflow.names import ModelName
from guardianflow.registry.ledger.log import SEGMENT_LENGTH
from guardianflow.registry.rotation import release_reader

MIB = 1024 * 1024
_WARM_UP = 2
_SHORT = 10

Step = Callable[[], object]


class Ours:
    """A release that guardianflow moves."""

    def __init__(self, plant: Plant, size: int) -> None:
        self._plant, self._size = plant, size
        self.name = plant.new_release()
        for _ in range(2):
            self.prepare()
            self.promote()

    def prepare(self) -> None:
        """Register the next version; not measured."""
        self._plant.new_version(self.name, self._size)

    def promote(self) -> None:
        """Promote what waits."""
        self._plant.registry.promote_to_champion(self.name, reason="benchmark")

    def roll_back(self) -> None:
        """Go one version back."""
        self._plant.registry.rollback(self.name, reason="benchmark")


class Bare:
    """A release whose aliases are written and nothing else: no check, no log, no order kept."""

    def __init__(self, plant: Plant, writes: Any) -> None:
        self._plant, self._writes = plant, writes
        self.name = plant.new_release()
        self._names = [self.name.registered, self.name.variant(FLAVOUR).registered]
        self._good = [0]
        for _ in range(2):
            self.prepare()
            self.promote()

    def prepare(self) -> None:
        """Register the next version; not measured."""
        self._next = self._plant.new_version(self.name)

    def promote(self) -> None:
        """Three writes for each name, as a promotion makes them."""
        champion = self._good[-1]
        for name in self._names:
            if champion:
                self._writes.set_registered_model_alias(name, "rollback", str(champion))
            self._writes.set_registered_model_alias(name, "champion", str(self._next))
            self._writes.delete_registered_model_alias(name, "candidate")
        self._good.append(self._next)

    def roll_back(self) -> None:
        """Three writes for each name, as a rollback makes them."""
        bad = self._good.pop()
        for name in self._names:
            self._writes.set_registered_model_alias(name, "champion", str(self._good[-1]))
            self._writes.set_registered_model_alias(name, "rollback", str(self._good[-2]))
            self._writes.set_registered_model_alias(name, "candidate", str(bad))


@contextmanager
def checks_timed() -> Iterator[list[float]]:
    """Collect how long each check of a version's files takes; they are made as ever."""
    spent: list[float] = []

    def timed(*arguments: Any) -> None:
        began = time.perf_counter()
        try:
            verify_version(*arguments)
        finally:
            spent.append(time.perf_counter() - began)

    with patch.object(release_reader, "verify_version", timed):
        yield spent


def timings(
    plant: Plant, rounds: int, size: int, warm_up: int = _WARM_UP
) -> dict[str, dict[str, list[float]]]:
    """Seconds of each operation by each way, in rounds of changing order; the first warm up."""
    ways: dict[str, Ours | Bare] = {
        "guardianflow": Ours(plant, size),
        "client": Bare(plant, plant.client),
        "request": Bare(plant, RestStore(lambda: get_default_host_creds(plant.uri))),
    }
    series = {
        way: {"promote": [], "rollback": [], "promote checks": [], "rollback checks": []}
        for way in ways
    }
    order = list(ways)
    draw = random.Random(4)
    with checks_timed() as spent:
        for number in range(warm_up + rounds):
            draw.shuffle(order)
            for way in order:
                release, found = ways[way], series[way]
                if number == warm_up:
                    for seconds in found.values():
                        seconds.clear()
                for what, step in (
                    ("promote", release.promote),
                    ("promote", release.promote),
                    ("rollback", release.roll_back),
                ):
                    if what == "promote":
                        release.prepare()
                    spent.clear()
                    began = time.perf_counter()
                    step()
                    found[what].append(time.perf_counter() - began)
                    found[f"{what} checks"].append(sum(spent))
    return series


def compared(series: Mapping[str, Mapping[str, Sequence[float]]], what: str) -> dict[str, object]:
    """One operation: its times, those of the bare writes, and the ratios without file checks."""
    whole, checks = series["guardianflow"][what], series["guardianflow"][f"{what} checks"]
    ours = [total - spent for total, spent in zip(whole, checks, strict=True)]
    figures: dict[str, object] = {
        "guardianflow": summary(whole),
        "guardianflow_without_file_checks": summary(ours),
        "file_checks": summary(checks),
    }
    for bare in ("client", "request"):
        seconds = series[bare][what]
        figures[f"bare_{bare}"] = summary(seconds)
        for label, part in (("p50", 0.5), ("p95", 0.95)):
            figures[f"{label}_to_bare_{bare}"] = ratio(ours, seconds, part)
            figures[f"{label}_to_bare_{bare}_with_checks"] = round(
                quantile(whole, part) / quantile(seconds, part), 2
            )
    return figures


def calls_of(plant: Plant, name: ModelName) -> dict[str, list[Call]]:
    """The HTTP requests of a promotion and of a rollback of a release that has a champion."""
    found: dict[str, list[Call]] = {}
    plant.new_version(name)
    with recorded() as found["promote"]:
        plant.registry.promote_to_champion(name, reason="benchmark", token=_token(name, "p"))
    with recorded() as found["rollback"]:
        plant.registry.rollback(name, reason="benchmark", token=_token(name, "r"))
    return found


def _token(name: ModelName, what: str) -> str:
    return f"{what}-{name.site}-{time.monotonic_ns()}"


def counted(calls: Sequence[Call]) -> dict[str, int]:
    """How many, and how many of them for the files."""
    files = sum(call.of_files for call in calls)
    return {"without_file_checks": len(calls) - files, "file_checks": files}


def grown(plant: Plant, *, models: int, versions: int, history: int) -> dict[str, object]:
    """The requests of each operation on a small release, and on releases grown in one way each."""
    found: dict[str, ModelName] = {}
    found[f"{_SHORT} operations"] = plant.new_release()
    plant.write_history(found[f"{_SHORT} operations"], _SHORT)
    many = plant.new_release()
    plant.write_history(many, _SHORT)
    plant.new_names(ModelName.parse(f"{many}-{number}") for number in range(models))
    found[f"{models} more models whose names begin alike"] = many
    old = plant.new_release()
    for _ in range(versions):
        plant.bare_version(old, SMALL)
        plant.bare_version(old.variant(FLAVOUR), SMALL, {"guardianflow.source_version": "1"})
    plant.write_history(old, _SHORT)
    found[f"{versions} more versions"] = old
    # In the same place of its ledger run as the small one.
    long = plant.new_release()
    length = _SHORT + history // SEGMENT_LENGTH * SEGMENT_LENGTH
    plant.write_history(long, length)
    found[f"{length} operations"] = long
    full = plant.new_release()
    plant.write_history(full, SEGMENT_LENGTH)
    found["the first operation of a new ledger run, and the next"] = full
    return {
        label: {what: counted(calls) for what, calls in calls_of(plant, name).items()}
        for label, name in found.items()
    }


def commands(plant: Plant) -> dict[str, object]:
    """The requests of the two commands, which plan, keep evidence and perform."""
    from guardianflow.cli.app import app

    name = plant.new_release()
    plant.write_history(name, _SHORT)
    found: dict[str, object] = {}
    with patch.dict(os.environ, {"MLFLOW_TRACKING_URI": plant.uri}):
        for command in ("promote", "rollback"):
            if command == "promote":
                plant.new_version(name)
            with recorded() as calls:
                done = CliRunner().invoke(app, [command, str(name), "--yes", "--json"])
            if done.exit_code:
                raise RuntimeError(f"guardianflow {command} failed: {done.output}")
            found[f"guardianflow {command} --yes"] = counted(calls)
    return found


def measure(
    plant: Plant,
    *,
    rounds: int,
    large_rounds: int,
    large: int,
    models: int,
    versions: int,
    history: int,
    warm_up: int = _WARM_UP,
) -> dict[str, object]:
    """All figures of this benchmark."""
    series = timings(plant, rounds, SMALL, warm_up)
    large_series = timings(plant, large_rounds, large, warm_up)
    name = plant.new_release()
    plant.write_history(name, _SHORT)
    lists = calls_of(plant, name)
    return {
        "database": plant.kind,
        "rounds": rounds,
        "small_files": {what: compared(series, what) for what in ("promote", "rollback")},
        f"files_of_{large / MIB:g}_mib": {
            what: compared(large_series, what) for what in ("promote", "rollback")
        },
        "calls": {
            what: {**counted(calls), "list": table([c for c in calls if not c.of_files])}
            for what, calls in lists.items()
        },
        "calls_of_commands": commands(plant),
        "calls_of_grown_releases": grown(plant, models=models, versions=versions, history=history),
    }


def rows(content: Mapping[str, Any]) -> list[Row]:
    """What the page says of these figures."""
    on = content["database"]
    command = "`python -m benchmarks.rotation`"
    if on != "sqlite":
        command = "`python -m benchmarks.rotation --postgres`"
    found: list[Row] = []
    for what, words in (("promote", "promotion"), ("rollback", "rollback")):
        one = content["small_files"][what]
        p95 = one["p95_to_bare_client"]
        found.append(
            (
                f"{words} of a twin release against the bare alias writes, p95, {on}",
                "≤ 5×",
                f"{told(p95)}; p50 "
                f"{one['p50_to_bare_client']['ratio']:.2f}×; against one bare request a write "
                f"{one['p95_to_bare_request']['ratio']:.2f}×; "
                f"p95 {one['guardianflow_without_file_checks']['p95_ms']:.0f} ms",
                command,
            )
        )
        calls = content["calls"][what]
        found.append(
            (
                f"HTTP requests of a {words}, {on}",
                "≤ 25",
                f"{calls['without_file_checks']}, and {calls['file_checks']} to check 2 × 2 files",
                command,
            )
        )
    large = next(key for key in content if key.startswith("files_of_"))
    small_ms = content["small_files"]["promote"]["file_checks"]["p50_ms"]
    large_ms = content[large]["promote"]["file_checks"]["p50_ms"]
    size = large.removeprefix("files_of_").removesuffix("_mib")
    found.append(
        (
            f"the file checks of a twin promotion, p50, {on}",
            "apart",
            f"{small_ms:.0f} ms with small files, {large_ms:.0f} ms with {size} MiB each",
            command,
        )
    )
    each = "; ".join(
        f"{label}: {one['promote']['without_file_checks']} and "
        f"{one['rollback']['without_file_checks']}"
        for label, one in content["calls_of_grown_releases"].items()
    )
    found.append((f"requests of promotion and rollback as it grows, {on}", "equal", each, command))
    return found


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rotation", description=__doc__)
    parser.add_argument("--postgres", action="store_true", help="the server's database")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--large-rounds", type=int, default=5)
    parser.add_argument("--large-mib", type=int, default=50)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    with plant_on(postgres=options.postgres) as plant:
        figures = measure(
            plant,
            rounds=options.rounds,
            large_rounds=options.large_rounds,
            large=options.large_mib * MIB,
            models=200,
            versions=50,
            history=500,
        )
    name = "rotation-postgres" if options.postgres else "rotation"
    tell(name, figures, rows(figures), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
