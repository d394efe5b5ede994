"""Figures: quantiles and ratios of what was timed, the machine, and where they are written.

Each benchmark writes its figures to docs/results/NAME.json; the table in docs/benchmarks.md between
the two markers is made of those files, so that it never says anything else than they do.
"""

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parents[1]
RESULTS = CHECKOUT / "docs" / "results"
PAGE = CHECKOUT / "docs" / "benchmarks.md"
_BEGIN = "<!-- releases: written by `make bench` -->"
_END = "<!-- end of releases -->"
_DRAWS = 2000


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p95 in milliseconds, and of how many."""
    return {
        "p50_ms": round(quantile(seconds, 0.5) * 1000, 1),
        "p95_ms": round(quantile(seconds, 0.95) * 1000, 1),
        "n": len(seconds),
    }


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which a part of all lies, between two of them interpolated."""
    return float(np.quantile(np.asarray(values), part))


def ratio(
    ours: Sequence[float], bare: Sequence[float], part: float, seed: int = 4
) -> dict[str, float]:
    """The ratio of a quantile of two series taken in the same rounds, with its 95 % interval.

    The interval is a bootstrap over rounds: a round that was slow for both stays a pair.
    """
    mine, other = np.asarray(ours), np.asarray(bare)
    drawn = np.random.default_rng(seed).integers(len(mine), size=(_DRAWS, len(mine)))
    ratios = np.quantile(mine[drawn], part, axis=1) / np.quantile(other[drawn], part, axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return {
        "ratio": round(quantile(ours, part) / quantile(bare, part), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
    }


def told(value: Mapping[str, float]) -> str:
    """A ratio with its interval, for people."""
    return f"{value['ratio']:.2f}× ({value['low']:.2f}–{value['high']:.2f})"


def machine() -> dict[str, object]:
    """On what the figures were taken, and how busy it was at the time."""
    flags = _processor()
    wanted = ("avx2", "avx512f", "avx512_vnni", "amx_int8")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": flags.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "instructions": [one for one in wanted if one in flags.get("flags", "").split()],
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "mlflow": importlib.metadata.version("mlflow"),
        "system": platform.system(),
    }


def _processor() -> dict[str, str]:
    file = Path("/proc/cpuinfo")
    if not file.is_file():
        return {}
    pairs = (line.split(":", 1) for line in file.read_text().splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def write(name: str, figures: Mapping[str, object], folder: Path = RESULTS) -> Path:
    """Write figures, with the machine, to NAME.json and bring the page's table up to date."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    content = {"machine": machine(), **figures}
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if folder == RESULTS:
        write_page()
    return file


Row = tuple[str, str, str, str]
"""What was measured, the goal, the figure, the command."""


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
    # They import this module: what a row says belongs to the benchmark that took the figure.
    from benchmarks import ledger_growth, listing, rotation

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
