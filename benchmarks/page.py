"""The table of docs/benchmarks.md, made of the result files: it says nothing else than they do.

    python -m benchmarks.page

What a row says belongs to the benchmark that took the figure.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import ledger_growth, listing, rotation
from benchmarks.figures import CHECKOUT, RESULTS, Row

PAGE = CHECKOUT / "docs" / "benchmarks.md"
_BEGIN = "<!-- releases: written by `make bench` -->"
_END = "<!-- end of releases -->"


def markdown(rows: Sequence[Row], machines: Sequence[Mapping[str, object]]) -> str:
    """One table of all rows, and below it the machine."""
    lines = ["| what | goal | figure | command |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    for words in dict.fromkeys(_machine(one) for one in machines):
        lines += ["", words]
    return "\n".join(lines)


def _machine(one: Mapping[str, object]) -> str:
    instructions = ", ".join(str(name) for name in one["instructions"])  # type: ignore[attr-defined]
    return (
        f"{one['date']}, {one['cpu']}, {one['cores']} cores ({instructions}), Python "
        f"{one['python']}, MLflow {one['mlflow']}, server and client on the same machine."
    )


def replaced(page: str, table: str) -> str:
    """The page with another table between its two markers.

    Raises:
        ValueError: A marker is missing.
    """
    head, begin, rest = page.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{PAGE} lacks the line {_BEGIN} or {_END}")
    return f"{head}{_BEGIN}\n{table}\n{_END}{tail}"


def write_page(page: Path = PAGE, folder: Path = RESULTS) -> None:
    """Make the page's table of the result files that are there."""
    makers: dict[str, Callable[[Mapping[str, object]], list[Row]]] = {
        "rotation": rotation.rows,
        "rotation-postgres": rotation.rows,
        "listing": listing.rows,
        "ledger-growth": ledger_growth.rows,
    }
    found = {name: folder / f"{name}.json" for name in makers}
    contents = {
        name: json.loads(file.read_text("utf-8")) for name, file in found.items() if file.is_file()
    }
    rows = [row for name, content in contents.items() for row in makers[name](content)]
    machines = [content["machine"] for content in contents.values()]
    page.write_text(replaced(page.read_text("utf-8"), markdown(rows, machines)), encoding="utf-8")


if __name__ == "__main__":
    write_page()
