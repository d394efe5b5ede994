"""Settings of all tests, their order, and a summary of what ran on real parts."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from xdist.scheduler import LoadFileScheduling

from guardianflow.machine.servers import NO_TELEMETRY

# Set before heavy imports: no telemetry, and one thread, since threads that compete for two cores
# made tiny networks ten times as slow.
os.environ.update(NO_TELEMETRY)
os.environ.setdefault("OMP_NUM_THREADS", "1")
# MLflow looks for a Databricks notebook at each request: an import that fails, and takes as long
# as half of the client's work unless Python knows at once that there is none.
sys.modules["dbruntime.databricks_repl_context"] = None  # pyright: ignore[reportArgumentType]

# A few examples, always the same; `make chaos` uses the other profile, with new ones each time.
_CALM = [HealthCheck.too_slow, HealthCheck.filter_too_much]
settings.register_profile(
    "ci", derandomize=True, max_examples=300, deadline=None, suppress_health_check=_CALM
)
settings.register_profile(
    "chaos", max_examples=10_000, deadline=None, print_blob=True, suppress_health_check=_CALM
)
# A mutant must be found, but needs no smallest example.
settings.register_profile(
    "mutation", settings.get_profile("ci"), max_examples=80, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("ci")

_TESTS = Path(__file__).parent
_ORDER = ["unit", "integration", "e2e"]
# Of two processes one begins with the longest, which share the servers of `make up`.
_ORDER_SIDE_BY_SIDE = ["e2e", "unit", "integration"]
# What these share takes longer to make than most tests: a trained detector, a Prefect server.
SHARING = {
    f"tests/integration/test_{name}.py"
    for name in (
        *("approval_flow", "being_told", "blocks", "calls", "class_names", "deployments", "drill"),
        *("duplicate_events", "edge", "evidence", "flows", "gate", "health", "importing"),
        *("measurement", "orchestrator", "pages", "promotion", "question", "reconcile_flow"),
        *("serving", "silence", "watcher", "foreign_training"),
    )
}
REAL_PARTS = {
    "mlflow_server": "a real MLflow server",
    "prefect_server": "a real Prefect API",
    "real_data": "real photographs",
    "real_weights": "real weights trained on COCO",
    "browser": "a real browser",
}


class _Sharing(LoadFileScheduling):
    """File by file, but what shares costly parts goes to one process together."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        if file.startswith("tests/e2e/"):
            return "e2e"
        return "sharing" if file in SHARING else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _Sharing:
    """Distribute the tests over the processes."""
    return _Sharing(config, log)  # pyright: ignore[reportArgumentType]


def _rank(item: pytest.Item) -> tuple[int, bool]:
    """Run forking tests first: a child would inherit locks of threads that other tests start."""
    if item.get_closest_marker("forks"):
        return -1, False
    side_by_side = hasattr(item.config, "workerinput")
    order = _ORDER_SIDE_BY_SIDE if side_by_side else _ORDER
    file = item.nodeid.partition("::")[0]
    return order.index(item.path.relative_to(_TESTS).parts[0]), file not in SHARING


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a server, by their fixtures, and put them in their order."""
    items.sort(key=_rank)
    for item in items:
        fixtures: tuple[str, ...] = getattr(item, "fixturenames", ())
        # The embedded servers are both.
        for key in ("mlflow_server", "prefect_server"):
            if key in fixtures or "embedded" in fixtures:
                item.add_marker(key)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report at the end how many tests ran on real parts."""
    ran: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []) + terminalreporter.stats.get(
        "failed", []
    ):
        if report.when == "call":
            ran.update(key for key in REAL_PARTS if key in report.keywords)
    skipped = terminalreporter.stats.get("skipped", [])
    terminalreporter.section("real parts")
    for key, words in REAL_PARTS.items():
        terminalreporter.write_line(f"{ran[key]:4d} tests ran on {words}")
    terminalreporter.write_line(f"{len(skipped):4d} tests were skipped")
