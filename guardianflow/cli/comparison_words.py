"""What `compare` says first: what the second version buys and what it costs, for the floor."""

import re

from guardianflow.evaluation.version_comparison import VersionComparison
from guardianflow.evaluation.version_cost import CostComparison, TimeRatio
from guardianflow.names import class_key
from guardianflow.promotion.evidence.sentences import (
    WORTH_A_WORD,
    FigureChange,
    apart,
    figure_changes,
)
from guardianflow.vision.metrics.latency import Latency

_FELT = 1.05
"""A smaller ratio rounds to 1.0x, which is no difference."""


def in_words(found: VersionComparison) -> list[str]:
    """What gets better, worse, or may be chance, a line each; then what it costs."""
    cost, busy = costs(found.cost), ", busy with other work" if found.cost.busy else ""
    return [*_buys(found), *([f"Cost on this machine{busy}: {cost}."] if cost else [])]


def _buys(found: VersionComparison) -> list[str]:
    if found.difference is None:
        return [found.sentence()]
    changes = figure_changes(found.first.evaluation, found.second.evaluation, found.difference)
    groups = {
        "Better": [one for one in changes[::-1] if one.sure and one.worse < 0],
        "Worse": [one for one in changes if one.sure and one.worse > 0],
        "Not certain": [one for one in changes if not one.sure and abs(one.worse) >= WORTH_A_WORD],
    }
    said = [f"{word}: {'; '.join(map(_change, group))}." for word, group in groups.items() if group]
    images = found.difference.images
    far = f"as far as {images} pictures can show"
    return said or [f"No difference in what is missed or falsely shown, {far}."]


def _change(change: FigureChange) -> str:
    if not change.name:
        before, after = apart(change.before, change.after)
        return f"{after} false alarms in 100 pictures instead of {before}"
    before, after = apart(100 - change.before, 100 - change.after)
    return f"of 100 {counted(change.name)} it misses {after} instead of {before}"


def counted(name: str) -> str:
    """A class as one counts it: `no_helmet` as workers without a helmet."""
    key = class_key(name)
    if not re.fullmatch("[a-z_]+", key):
        return f'"{name}"'
    words = key.removeprefix("no_").replace("_", " ")
    if key.startswith("no_"):
        return f"workers without {words if words.endswith('s') else f'a {words}'}"
    return "people" if words == "person" else words if words.endswith("s") else f"{words}s"


def costs(cost: CostComparison) -> str:
    """Time per frame, files and memory of the second beside the first; of the one that is there."""
    first, second = cost.first, cost.second
    if first and second:
        said = [f"{_mib(second.size_mib)} MiB of files instead of {_mib(first.size_mib)}"]
        if first.latency and second.latency and cost.time_ratio:
            said.insert(0, _times(first.latency, second.latency, cost.time_ratio))
        if first.memory_mib and second.memory_mib:
            memory = f"{_mib(second.memory_mib)} MiB of memory instead of {_mib(first.memory_mib)}"
            said.append(memory)
        return ", ".join(said)
    one = second or first
    if one is None:
        return ""
    said = [f"the {'second' if second else 'first'} has {_mib(one.size_mib)} MiB of files"]
    if one.latency:
        said.append(f"takes {_ms(one.latency)} ms per frame")
    if one.memory_mib:
        said.append(f"needs {_mib(one.memory_mib)} MiB of memory")
    return ", ".join(said)


def _times(first: Latency, second: Latency, ratio: TimeRatio) -> str:
    ms = f"{_ms(second)} ms instead of {_ms(first)}"
    if ratio.low > 1.0 and ratio.value >= _FELT:
        return f"{ratio.value:.1f}x the time per frame ({ms})"
    if ratio.high < 1.0 and ratio.value <= 1 / _FELT:
        return f"{1 / ratio.value:.1f}x as fast per frame ({ms})"
    return f"about the same time per frame ({ms})"


def _ms(latency: Latency) -> str:
    return f"{latency.p50_ms:.1f}" if latency.p50_ms < 10 else f"{latency.p50_ms:.0f}"


def _mib(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
