"""What it costs to do nothing: `python -m benchmarks.idle`.

Servers and workers as `make up` starts them, left alone: processor seconds a minute of a process
with its children, memory (PSS: shared pages are divided among those who share them), and by how
much the database of Prefect grows. Where the system has PostgreSQL, the same in the same minutes
with Prefect on that: its own processes are not counted, and what its updates leave behind is part
of its size until it vacuums. Three runs of five minutes, each after its servers have settled; about
twenty-five minutes.
"""

import argparse
import sqlite3
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from benchmarks.figures import RESULTS, Row, tell
from benchmarks.reaction import shipped_servers
from deployments.state import State
from testbed.servers import POSTGRES, system_postgres

NAME = "idle"
# Until the first pass, and the one a minute after it, are over.
_SETTLED_S = 120.0
_MIB = 2**20


@dataclass(frozen=True)
class Sight:
    """What was used up to a moment.

    Attributes:
        processor_s: By process, its children included, also those that have ended.
        pss_mib: By process, without the children of the moment.
        database: Bytes of Prefect's database: of SQLite, those that hold something.
        events: How many events it holds.
    """

    processor_s: Mapping[str, float]
    pss_mib: Mapping[str, float]
    database: int
    events: int


def look(state_dir: Path, database: str = "") -> Sight:
    """Read it from the system and the database; '' is the SQLite file of the state directory."""
    state = State.read(state_dir)
    assert state
    found = {name: record.process() for name, record in state.pids.items()}
    alive = {name: process for name, process in found.items() if process}
    assert alive.keys() == found.keys(), "a process has ended"
    if database:
        used, events = _postgres(database)
    else:
        used, events = _sqlite(state_dir / "prefect" / "prefect.db")
    return Sight(
        {name: _processor_s(process) for name, process in alive.items()},
        {name: process.memory_full_info().pss / _MIB for name, process in alive.items()},
        used,
        events,
    )


def _processor_s(process: psutil.Process) -> float:
    total = sum(process.cpu_times()[:4])
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += sum(child.cpu_times()[:4])
    return total


def _sqlite(file: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:

        def ask(words: str) -> int:
            return int(database.execute(words).fetchone()[0])

        pages = ask("pragma page_count") - ask("pragma freelist_count")
        return pages * ask("pragma page_size"), ask("select count(*) from events")


def _postgres(address: str) -> tuple[int, int]:
    with psycopg.connect(address.replace("+asyncpg", "")) as database:
        asked = "select pg_database_size(current_database()), (select count(*) from events)"
        size, events = database.execute(asked).fetchall()[0]
        return int(size), int(events)


def measure(state_dir: Path, seconds: float, database: str = "") -> dict[str, Any]:
    """Look twice; what was used in between, by the minute and by the hour."""
    before, began = look(state_dir, database), time.monotonic()
    time.sleep(seconds)
    after = look(state_dir, database)
    minutes = (time.monotonic() - began) / 60
    used = {
        name: round((after.processor_s[name] - before.processor_s[name]) / minutes, 2)
        for name in before.processor_s
    }
    return {
        "minutes": round(minutes, 2),
        "processor_s_per_min": used,
        "processor_s_per_min_in_all": round(sum(used.values()), 2),
        "pss_mib": {name: round(mib) for name, mib in after.pss_mib.items()},
        "pss_mib_in_all": round(sum(after.pss_mib.values())),
        "database_mib_per_h": round((after.database - before.database) / _MIB / minutes * 60, 2),
        "events_per_h": round((after.events - before.events) / minutes * 60),
    }


def rows(content: Mapping[str, Any]) -> list[Row]:
    """What the page says of these figures."""
    found = _rows(content["runs"], "")
    if other := content.get("on_postgres"):
        # Memory does not depend on the database.
        found += _rows(other, "; Prefect on PostgreSQL")[:2]
    return found


def _rows(runs: Sequence[Mapping[str, Any]], where: str) -> list[Row]:
    def middle(key: str) -> str:
        values = [one[key] for one in runs]
        return f"{statistics.median(values):g} ({min(values):g}–{max(values):g})"

    command, times = "`python -m benchmarks.idle`", f"median of {len(runs)} runs"
    parts = runs[0]["processor_s_per_min"]
    each = ", ".join(f"{name} {seconds:g}" for name, seconds in parts.items())
    return [
        (
            f"`make up` that has nothing to do, processor seconds a minute{where}",
            "≤ 5",
            f"{middle('processor_s_per_min_in_all')}, {times} (the first: {each})",
            command,
        ),
        (
            f"growth of Prefect's database, MiB an hour{where}",
            "≤ 1",
            f"{middle('database_mib_per_h')}, events {middle('events_per_h')}, {times}",
            command,
        ),
        (
            f"memory of all its processes, MiB (PSS){where}",
            "stated",
            middle("pss_mib_in_all"),
            command,
        ),
    ]


def run(seconds: float) -> list[dict[str, Any]]:
    """One run, on SQLite and, where there is one, on PostgreSQL, in the same minutes."""
    with ExitStack() as stack:
        places = [(stack.enter_context(shipped_servers()), "")]
        if POSTGRES:
            database = stack.enter_context(system_postgres())
            places.append((stack.enter_context(shipped_servers(database)), database))
        time.sleep(_SETTLED_S)
        with ThreadPoolExecutor() as pool:
            asked = [
                pool.submit(measure, Path(servers.source).parent, seconds, database)
                for servers, database in places
            ]
            return [one.result() for one in asked]


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    runs = [run(options.seconds) for _ in range(options.runs)]
    names = ("runs", "on_postgres")
    figures = {
        name: list(series) for name, series in zip(names, zip(*runs, strict=True), strict=False)
    }
    tell(NAME, figures, rows(figures), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
