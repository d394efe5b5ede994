"""The record of the embedded servers, and the environment of everything that runs for them."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from deployments import CHECKOUT
from deployments.processes import MARK, ProcessRecord
from guardianflow.machine.private import write_private
from guardianflow.machine.servers import NO_TELEMETRY, STATE_FILE, Keys, home
from guardianflow.stored import require_reader

DATABASE = "GUARDIANFLOW_PREFECT_DATABASE"
"""The variable with another database for the Prefect server than SQLite, where writers get in each
other's way: an empty one on PostgreSQL (`postgresql+asyncpg://...`)."""
RETENTION: Mapping[str, str] = {"PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans"}
"""What Prefect deletes by itself: events after a week, and logs and artifacts of deleted flow runs.
Which flow runs are deleted is decided in `flows/retention.py`."""


@dataclass(frozen=True)
class State:
    """The content of servers.json: two addresses and the processes behind them."""

    mlflow: str
    prefect: str
    pids: Mapping[str, ProcessRecord]
    code: str = ""
    """What `code_of_now` said when they were started; an older version writes nothing."""

    @classmethod
    def read(cls, state_dir: Path) -> "State | None":
        """The recorded state; None if there is none that can be read.

        Raises:
            StoredNewer: It needs a newer version of guardianflow; its servers may well run.
        """
        path = state_dir / STATE_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            require_reader(content, f"file {path}")
            records = {name: ProcessRecord.read(record) for name, record in content["pids"].items()}
            code = str(content.get("code", ""))
            return cls(content["mlflow"], content["prefect"], records, code)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, state_dir: Path) -> None:
        """Replace servers.json in one step; only this user may read it."""
        content = {**asdict(self), "pids": {k: asdict(v) for k, v in self.pids.items()}}
        write_private(state_dir / STATE_FILE, json.dumps(content, indent=2))

    def running(self) -> set[str]:
        """The names of the processes that still run."""
        return {name for name, record in self.pids.items() if record.process()}


def code_of_now() -> str:
    """A digest of the code that servers and workers hold in memory, with their settings.

    Flows are not part of it: each flow run reads them again.
    """
    digest = hashlib.sha256(f"{version('mlflow')} {version('prefect')}".encode())
    for package in ("blocks", "deployments", "guardianflow"):
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(CHECKOUT)} {content}".encode())
    return digest.hexdigest()


def environment(state_dir: Path, mlflow: str, prefect: str) -> dict[str, str]:
    """The environment of everything that runs for `state_dir`, the flow runs included.

    Settings of the user's shell for other Prefect and MLflow servers are left out.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    prefect_home = state_dir / "prefect"
    keys = Keys.read(state_dir)
    return {
        **kept,
        **NO_TELEMETRY,
        **({**keys.of_prefect(), **keys.of_mlflow()} if keys else {}),
        MARK: str(state_dir),
        "GUARDIANFLOW_HOME": str(home()),
        "MLFLOW_TRACKING_URI": mlflow,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PREFECT_API_URL": prefect,
        "PREFECT_HOME": str(prefect_home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": os.environ.get(DATABASE)
        or f"sqlite+aiosqlite:///{prefect_home}/prefect.db",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        **RETENTION,
        # The UI calls the server that it came from, under any name; other pages get no answer.
        "PREFECT_UI_API_URL": "/api",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": prefect.removesuffix("/api"),
        # In files: else the server would not know after a kill -9 who holds the only slot of
        # `reconcile`, and no pass would ever begin again.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
        "PREFECT_CLI_PROMPT": "false",
        "PYTHONUNBUFFERED": "1",
    }
