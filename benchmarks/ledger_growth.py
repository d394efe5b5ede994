"""What the next operation costs after 10 and after 2,000: `python -m benchmarks.ledger_growth`.

Two releases on one server, one with a short and one with a long history, are promoted and rolled
back in turns. The histories are written by the ledger's own commit and done, without the alias
writes in between (minutes instead of hours); what is measured on top are real operations. Both
releases stand at the same place of their ledger runs, so that neither makes a new run alone.
"""

import argparse
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import RESULTS, Row, ratio, summary, tell, told
from benchmarks.http_calls import recorded
from benchmarks.plant import Plant, plant_on
from guardianflow.names import ModelName
from guardianflow.registry.ledger.log import SEGMENT_LENGTH

SHORT = 10
_OPERATIONS = ("promote", "rollback")


class Pair:
    """A release with a short history and one with a long, at the same place of their runs."""

    def __init__(self, plant: Plant, long: int) -> None:
        self._plant = plant
        self.lengths = {"short": SHORT, "long": SHORT + long // SEGMENT_LENGTH * SEGMENT_LENGTH}
        self.names: dict[str, ModelName] = {}
        for label, length in self.lengths.items():
            self.names[label] = plant.new_release()
            plant.write_history(self.names[label], length)

    def prepare(self, label: str, what: str) -> None:
        """Register what a promotion is to promote; not measured."""
        if what == "promote":
            self._plant.new_version(self.names[label])

    def operate(self, label: str, what: str) -> float:
        """Seconds of one operation of one of the two."""
        name, registry = self.names[label], self._plant.registry
        began = time.perf_counter()
        if what == "promote":
            registry.promote_to_champion(name, reason="benchmark")
        else:
            registry.rollback(name, reason="benchmark")
        return time.perf_counter() - began


def measure(plant: Plant, *, long: int, pairs: int, rounds: int) -> dict[str, object]:
    """All figures of this benchmark."""
    seconds = {what: {"short": [], "long": []} for what in _OPERATIONS}
    calls: dict[str, dict[str, int]] = {what: {} for what in _OPERATIONS}
    filled: list[float] = []
    draw = random.Random(4)
    # Another operation more, of a new ledger run, is not the cost that is asked for.
    rounds = min(rounds, (SEGMENT_LENGTH - SHORT) // len(_OPERATIONS) - 1)
    for _ in range(pairs):
        began = time.perf_counter()
        pair = Pair(plant, long)
        filled.append(time.perf_counter() - began)
        for what in _OPERATIONS:
            for label in ("short", "long"):
                pair.prepare(label, what)
                with recorded() as made:
                    pair.operate(label, what)
                calls[what][label] = sum(not call.of_files for call in made)
        for _ in range(rounds):
            for what in _OPERATIONS:
                for label in draw.sample(("short", "long"), 2):
                    pair.prepare(label, what)
                    seconds[what][label].append(pair.operate(label, what))
    return {
        "database": plant.kind,
        "operations": pair.lengths,
        "pairs": pairs,
        "histories_written_in_s": [round(taken, 1) for taken in filled],
        "next_operation": {
            what: {
                **{label: summary(taken) for label, taken in found.items()},
                "p50_ratio": ratio(found["long"], found["short"], 0.5),
                "http_requests": calls[what],
            }
            for what, found in seconds.items()
        },
    }


def rows(content: Mapping[str, Any]) -> list[Row]:
    """What the page says of these figures."""
    found: list[Row] = []
    lengths = content["operations"]
    for what, one in content["next_operation"].items():
        value, calls = one["p50_ratio"], one["http_requests"]
        found.append(
            (
                f"the next {what} after {lengths['long']:,} operations against one after "
                f"{lengths['short']}, p50",
                "≤ 1.1×",
                f"{told(value)}, {calls['long']} and {calls['short']} HTTP requests",
                "`python -m benchmarks.ledger_growth`",
            )
        )
    return found


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger_growth", description=__doc__)
    parser.add_argument("--operations", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=18)
    parser.add_argument("--postgres", action="store_true", help="the server's database")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    with plant_on(postgres=options.postgres) as plant:
        figures = measure(
            plant, long=options.operations, pairs=options.pairs, rounds=options.rounds
        )
    name = "ledger-growth-postgres" if options.postgres else "ledger-growth"
    tell(name, figures, rows(figures), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
