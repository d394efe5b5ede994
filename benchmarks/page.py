"""The tables of the benchmarks, made of the result files: they say nothing else than those do.

docs/results/NAME.json --rows of each benchmark----> docs/results/*.md    all figures
                       --answers-------------------> docs/benchmarks.md   a question, an answer

python -m benchmarks.page
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import (
    accuracy_drop,
    answers,
    checker,
    demo_margin,
    equal_budget,
    false_rollbacks,
    flow_overhead,
    idle,
    latency,
    ledger_growth,
    listing,
    operation_answers,
    pretrained_start,
    reaction,
    right_action,
    rotation,
    training_throughput,
)
from benchmarks.figures import CHECKOUT, RESULTS, Results, Row

PAGE = CHECKOUT / "docs" / "benchmarks.md"
_NOTHING = "Not measured yet."
_Maker = Callable[[Mapping[str, Any]], list[Row]]
# Of each question of the page: what picks its answers out of all result files.
_ANSWERS: Mapping[str, Callable[[Results], list[Row]]] = {
    "good": answers.good,
    "training": answers.training,
    "speed": answers.speed,
    "int8": answers.int8,
    "reaction": operation_answers.reaction,
    "right": operation_answers.right,
    "releases": operation_answers.releases,
    "survives": operation_answers.survives,
    "idle": operation_answers.idle,
    "data": answers.data,
    "demo": answers.demo,
}
# Of each table with all figures, NAME.md in the folder of results: the files that it is made of,
# and what makes rows of them.
TABLES: Mapping[str, Mapping[str, _Maker]] = {
    "releases": {
        "rotation": rotation.rows,
        "rotation-postgres": rotation.rows,
        "listing": listing.rows,
        "ledger-growth": ledger_growth.rows,
    },
    "data": {"checker": checker.rows},
    "accuracy": {
        pretrained_start.NAME: pretrained_start.rows,
        "equal-budget": equal_budget.rows,
    },
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
        "accuracy-drop": accuracy_drop.rows,
        latency.NAME: latency.rows,
        latency.AMX_NAME: latency.rows,
        latency.LIMITED_NAME: latency.rows,
        latency.NANODET_NAME: latency.nanodet_rows,
        f"{latency.NANODET_NAME}-amx": latency.nanodet_rows,
        f"{latency.NANODET_NAME}-limited": latency.nanodet_rows,
    },
}


def markdown(rows: Sequence[Row], contents: Sequence[Mapping[str, object]]) -> str:
    """One table of all rows, and below it on what the figures were taken."""
    lines = [_lines("what | goal | figure | command", rows)]
    for words in dict.fromkeys(_taken_on(one) for one in contents):
        lines += ["", words]
    return "\n".join(lines)


def _lines(head: str, rows: Sequence[Row]) -> str:
    return "\n".join([f"| {head} |", "|---|---|---|---|", *(f"| {' | '.join(r)} |" for r in rows)])


def _taken_on(content: Mapping[str, Any]) -> str:
    one = content["machine"]
    with_what = {"Python": one["python"], "MLflow": one["mlflow"]}
    place = ", server and client on the same machine"
    if "versions" in content:
        with_what, place = content["versions"], ""
    # The benchmark itself and its servers keep a core or two busy.
    shared = one["load_1min"] > one["cores"] + 1
    beside = f" (shared: load {one['load_1min']:g})" if shared else ""
    beside += ", times of the processor" if content.get("clock") == "processor" else ""
    return (
        f"{one['date']}, {one['cpu']}, {one['cores']} cores ({', '.join(one['instructions'])})"
        f"{beside}, {', '.join(f'{name} {version}' for name, version in with_what.items())}{place}."
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
        raise ValueError(f"the page lacks the line {first} or {last}")
    return f"{head}{first}\n{table}\n{last}{tail}"


def write_pages(page: Path = PAGE, details: Path = RESULTS, folder: Path = RESULTS) -> None:
    """Make the tables of the page, and of the pages with all figures, of the files in a folder."""
    text = page.read_text("utf-8")
    results = {file.stem: json.loads(file.read_text("utf-8")) for file in folder.glob("*.json")}
    for name, answers_of in _ANSWERS.items():
        rows = answers_of(results)
        table = _lines("question | goal | answer | command", rows) if rows else _NOTHING
        text = replaced(text, name, table)
    page.write_text(text, encoding="utf-8")
    for name, makers in TABLES.items():
        file = details / f"{name}.md"
        found = {key: results[key] for key in makers if key in results}
        all_rows = [row for key, content in found.items() for row in makers[key](content)]
        table = markdown(all_rows, list(found.values())) if found else _NOTHING
        file.write_text(replaced(file.read_text("utf-8"), name, table), encoding="utf-8")


if __name__ == "__main__":
    write_pages()
