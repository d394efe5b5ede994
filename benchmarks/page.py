"""The tables of docs/benchmarks.md, made of the result files: they say nothing else than those do.

    python -m benchmarks.page

What a row says belongs to the benchmark that took the figure.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import (
    accuracy_drop,
    checker,
    demo_margin,
    equal_budget,
    false_rollbacks,
    flow_overhead,
    idle,
    latency,
    ledger_growth,
    listing,
    pretrained_start,
    reaction,
    right_action,
    rotation,
    training_throughput,
)
from benchmarks.figures import CHECKOUT, RESULTS, Row

PAGE = CHECKOUT / "docs" / "benchmarks.md"
_Maker = Callable[[Mapping[str, Any]], list[Row]]
# Of each table of the page: the result files that it is made of, and what makes rows of them.
_TABLES: Mapping[str, Mapping[str, _Maker]] = {
    "releases": {
        "rotation": rotation.rows,
        "rotation-postgres": rotation.rows,
        "listing": listing.rows,
        "ledger-growth": ledger_growth.rows,
    },
    "data": {"checker": checker.rows},
    "accuracy": {"equal-budget": equal_budget.rows},
    "pretrained": {pretrained_start.NAME: pretrained_start.rows},
    "demo": {demo_margin.NAME: demo_margin.rows},
    "training": {
        training_throughput.NAME: training_throughput.rows,
        training_throughput.GPU_NAME: training_throughput.rows,
    },
    "reaction": {
        "reaction": reaction.rows,
        "false-rollbacks": false_rollbacks.rows,
        "right-action": right_action.rows,
        "flow-overhead": flow_overhead.rows,
        idle.NAME: idle.rows,
    },
    "int8": {
        latency.NAME: latency.rows,
        latency.AMX_NAME: latency.rows,
        latency.LIMITED_NAME: latency.rows,
        "accuracy-drop": accuracy_drop.rows,
    },
}


def markdown(rows: Sequence[Row], contents: Sequence[Mapping[str, object]]) -> str:
    """One table of all rows, and below it on what the figures were taken."""
    lines = ["| what | goal | figure | command |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    for words in dict.fromkeys(_taken_on(one) for one in contents):
        lines += ["", words]
    return "\n".join(lines)


def _taken_on(content: Mapping[str, Any]) -> str:
    one = content["machine"]
    with_what = {"Python": one["python"], "MLflow": one["mlflow"]}
    place = ", server and client on the same machine"
    if "versions" in content:
        with_what, place = content["versions"], ""
    return (
        f"{one['date']}, {one['cpu']}, {one['cores']} cores ({', '.join(one['instructions'])}), "
        f"{', '.join(f'{name} {version}' for name, version in with_what.items())}{place}."
    )


def replaced(page: str, name: str, table: str) -> str:
    """The page with another table between the two markers of a name.

    Raises:
        ValueError: A marker is missing.
    """
    first = f"<!-- {name}: written by `python -m benchmarks.page` -->"
    last = f"<!-- end of {name} -->"
    head, begin, rest = page.partition(first)
    _, end, tail = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{PAGE} lacks the line {first} or {last}")
    return f"{head}{first}\n{table}\n{last}{tail}"


def write_page(page: Path = PAGE, folder: Path = RESULTS) -> None:
    """Make the page's tables of the result files that are there."""
    text = page.read_text("utf-8")
    for name, makers in _TABLES.items():
        text = replaced(text, name, _table(makers, folder))
    page.write_text(text, encoding="utf-8")


def _table(makers: Mapping[str, _Maker], folder: Path) -> str:
    found = {name: folder / f"{name}.json" for name in makers}
    contents = {
        name: json.loads(file.read_text("utf-8")) for name, file in found.items() if file.is_file()
    }
    rows = [row for name, content in contents.items() for row in makers[name](content)]
    return markdown(rows, list(contents.values())) if contents else "Not measured yet."


if __name__ == "__main__":
    write_page()
