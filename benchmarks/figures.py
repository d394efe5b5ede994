"""Figures: quantiles and ratios of what was timed, the machine, and where they are written.

Each benchmark writes its figures to docs/results/NAME.json; `page.py` makes a table of the files.
"""

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

CHECKOUT = Path(__file__).resolve().parents[1]
RESULTS = CHECKOUT / "docs" / "results"
_DRAWS = 2000

Row = tuple[str, str, str, str]
"""What was measured, the goal, the figure, the command."""
Results = Mapping[str, Mapping[str, Any]]
"""The content of the result files that are there, by their name."""


def answer(question: str, goal: str, said: str, command: str, *, met: bool | None = None) -> Row:
    """A row of docs/benchmarks.md; where there is a goal it begins with yes or no."""
    word = "" if met is None else "yes, " if met else "**no**, "
    return question, goal, f"{word}{said}", f"`{command}`"


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
    """Write figures, with the machine, to NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    content = {"machine": machine(), **figures}
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return file


def tell(name: str, figures: Mapping[str, object], rows: Sequence[Row], folder: Path) -> None:
    """Write figures, and print what the page says of them."""
    file = write(name, figures, folder)
    for row in rows:
        print(" | ".join(row[:3]))
    print(f"figures: {file}")
