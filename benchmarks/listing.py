"""What `guardianflow models` costs beside one bare listing: `python -m benchmarks.listing`.

On a server with 1,000 models x 20 versions, in turns:

    in one process    MlflowClient.search_registered_models, page by page, and our list_models
    as commands       a Python program that does nothing but the bare listing, and
                      `guardianflow models`; with the peak of each process's memory

and the memory once more with twice as many models, to see whether it stays.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from benchmarks.figures import RESULTS, Row, ratio, summary, tell, told
from benchmarks.http_calls import recorded
from benchmarks.plant import Plant, fill_listing, plant_on

_MIB = 1024 * 1024
_PAGE = 1000
BARE = f"""
import sys
from mlflow import MlflowClient
client, token = MlflowClient(sys.argv[1], sys.argv[1]), None
while True:
    page = client.search_registered_models(max_results={_PAGE}, page_token=token)
    print(len(page))
    token = page.token
    if not token:
        break
"""
# Small, because a process begins with the peak of the one that started it.
_LAUNCHER = """
import resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
took = time.perf_counter() - began
print(took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
COMMANDS = {"bare": ("-c", BARE), "guardianflow": ("-m", "guardianflow.cli", "models")}


def bare_listing(client: MlflowClient) -> int:
    """One bare paged listing, in the largest pages that the server gives."""
    count, token = 0, None
    while True:
        page = client.search_registered_models(max_results=_PAGE, page_token=token)
        count += len(page)
        token = page.token
        if not token:
            return count


def in_process(plant: Plant, rounds: int, models: int) -> dict[str, list[float]]:
    """Seconds of each listing in this process, in turns; the first round warms up."""
    found: dict[str, list[float]] = {"bare": [], "guardianflow": []}
    steps: dict[str, Callable[[], int]] = {
        "bare": lambda: bare_listing(plant.client),
        "guardianflow": lambda: len(plant.registry.list_models()),
    }
    draw = random.Random(4)
    for number in range(rounds + 1):
        for label in draw.sample(list(steps), len(steps)):
            began = time.perf_counter()
            listed = steps[label]()
            took = time.perf_counter() - began
            if listed != models:
                raise RuntimeError(f"{label} listed {listed} models, not {models}")
            if number:
                found[label].append(took)
    return found


def as_commands(plant: Plant, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds and peak memory in MiB of each command, in turns."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in COMMANDS}
    draw = random.Random(4)
    for _ in range(rounds):
        for label in draw.sample(list(COMMANDS), len(COMMANDS)):
            took, peak = run(plant, COMMANDS[label])
            found[label][0].append(took)
            found[label][1].append(peak)
    return found


def run(plant: Plant, words: Sequence[str]) -> tuple[float, float]:
    """Run a command against the server; its seconds and the peak of its memory in MiB.

    Raises:
        RuntimeError: It failed; with what it said.
    """
    environment = {**os.environ, "MLFLOW_TRACKING_URI": plant.uri, "COLUMNS": "120"}
    address = (plant.uri,) if words[0] == "-c" else ()
    done = subprocess.run(
        [sys.executable, "-S", "-c", _LAUNCHER, sys.executable, *words, *address],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{words} failed: {done.stderr[-2000:]}")
    took, peak = done.stdout.split()[-2:]
    # Linux counts in KiB, macOS in bytes.
    unit = 1024 if sys.platform == "linux" else 1
    return float(took), int(peak) * unit / _MIB


def measure(
    plant: Plant, *, models: int, versions: int, rounds: int, command_rounds: int
) -> dict[str, object]:
    """All figures of this benchmark."""
    began = time.perf_counter()
    fill_listing(plant.database, models, versions)
    filled = time.perf_counter() - began
    with recorded() as calls:
        plant.registry.list_models()
    seconds = in_process(plant, rounds, models)
    processes = as_commands(plant, command_rounds)
    fill_listing(plant.database, models, versions, first=models)
    twice = {label: run(plant, words)[1] for label, words in COMMANDS.items()}
    bare_s, _ = processes["bare"]
    ours_s, _ = processes["guardianflow"]
    return {
        "database": plant.kind,
        "models": models,
        "versions_of_each": versions,
        "filled_in_s": round(filled, 1),
        "http_requests": len(calls),
        "in_process": {
            **{label: summary(taken) for label, taken in seconds.items()},
            "p50_ratio": ratio(seconds["guardianflow"], seconds["bare"], 0.5),
        },
        "commands": {
            **{
                label: {
                    **summary(taken),
                    "peak_mib": round(statistics.median(peaks), 1),
                    "peak_mib_with_twice_the_models": round(twice[label], 1),
                }
                for label, (taken, peaks) in processes.items()
            },
            "p50_ratio": ratio(ours_s, bare_s, 0.5),
        },
    }


def rows(content: Mapping[str, Any]) -> list[Row]:
    """What the page says of these figures."""
    command = "`python -m benchmarks.listing`"
    size = f"{content['models']:,} models × {content['versions_of_each']} versions"
    inside, whole = content["in_process"], content["commands"]
    bare, ours = whole["bare"], whole["guardianflow"]
    return [
        (
            f"list of {size} against one bare paged `search_registered_models`, p50",
            "≤ 1.2×",
            f"{told(inside['p50_ratio'])}, {inside['guardianflow']['p50_ms']:.0f} ms, "
            f"HTTP requests: {content['http_requests']}",
            command,
        ),
        (
            "`guardianflow models` against a program of just that listing, whole process, p50",
            "≤ 1.2×",
            f"{told(whole['p50_ratio'])}, {ours['p50_ms'] / 1000:.1f} s",
            command,
        ),
        (
            "peak memory of `guardianflow models`, and with twice the models",
            "flat",
            f"{ours['peak_mib']:.0f} MiB (bare {bare['peak_mib']:.0f}), "
            f"{ours['peak_mib_with_twice_the_models']:.0f} MiB "
            f"(bare {bare['peak_mib_with_twice_the_models']:.0f})",
            command,
        ),
    ]


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.listing", description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--versions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--command-rounds", type=int, default=5)
    parser.add_argument("--postgres", action="store_true", help="the server's database")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    with plant_on(postgres=options.postgres) as plant:
        figures = measure(
            plant,
            models=options.models,
            versions=options.versions,
            rounds=options.rounds,
            command_rounds=options.command_rounds,
        )
    name = "listing-postgres" if options.postgres else "listing"
    tell(name, figures, rows(figures), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
