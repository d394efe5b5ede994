"""Where MLflow and Prefect are: the environment, then what `make up` left, then Prefect's profile.

Nothing else decides which server a command talks to. The state file is trusted only if it belongs
to this user, nobody else can read or write it, and it names loopback addresses. The keys of the
embedded servers lie beside it; they are sent only to these addresses, and only while the recorded
process of the server runs.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from guardianflow.errors import InputError, StoredNewer
from guardianflow.machine.private import private_folder, require_private, write_private
from guardianflow.stored import require_reader

if TYPE_CHECKING:
    import psutil

HOME = ".guardianflow"
"""The folder of the local state if `GUARDIANFLOW_HOME` names no other."""
STATE_FILE = "servers.json"
WORKSPACE = "MLFLOW_WORKSPACE"
KEY_FILE = "keys.json"
KEY_USER = "guardianflow"
"""The user of both embedded servers; the key of each is its password."""
# A dead server would otherwise cost minutes of retries (measured: 246 s) before it is reported.
QUICK_FAILURE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
_ACCOUNT = {
    "MLFLOW_TRACKING_URI": "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    "PREFECT_API_URL": "PREFECT_API_AUTH_STRING",
}
SECRETS = (
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "PREFECT_API_KEY",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_SERVER_API_AUTH_STRING",
)
"""Variables whose values no message repeats."""
_DATABASES = ("GUARDIANFLOW_PREFECT_DATABASE", "PREFECT_SERVER_DATABASE_CONNECTION_URL")
"""Variables with an address of a database, whose password no message repeats."""
_SHORTEST_SECRET = 6
# Factories are air-gapped: nothing that guardianflow starts phones home.
NO_TELEMETRY = {
    "NNCF_CI": "1",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass(frozen=True)
class Keys:
    """The passwords of a state directory's servers, shown only if a person asks for them.

    They are two because whoever has Prefect's can run code on this machine, while MLflow's is given
    to flows.
    """

    prefect: str = field(repr=False)
    mlflow: str = field(repr=False)

    @property
    def prefect_login(self) -> str:
        """What Prefect calls its auth string; its UI asks for it."""
        return f"{KEY_USER}:{self.prefect}"

    def of_prefect(self) -> dict[str, str]:
        """The environment of processes that use the Prefect server."""
        return {"PREFECT_API_AUTH_STRING": self.prefect_login}

    def of_mlflow(self) -> dict[str, str]:
        """The environment of processes that use the MLflow server."""
        return {"MLFLOW_TRACKING_USERNAME": KEY_USER, "MLFLOW_TRACKING_PASSWORD": self.mlflow}

    @classmethod
    def read(cls, state_dir: Path) -> "Keys | None":
        """The keys of a state directory; None if an older version left none.

        Raises:
            InputError: The file is open to others, or holds something else.
            StoredNewer: It needs a newer version of guardianflow.
        """
        path = state_dir / KEY_FILE
        if not path.exists():
            return None
        require_private(path, f"Remove {path}; the next `make up` makes new keys.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            require_reader(content, f"file {path}")
            return cls(str(content["prefect"]), str(content["mlflow"]))
        except (ValueError, KeyError, TypeError) as error:
            # Its content is not repeated.
            raise InputError(
                f"{path} holds no keys of `make up`.",
                remedy="Remove it; the next `make up` makes new keys.",
                file=str(path),
            ) from error

    @classmethod
    def make(cls, state_dir: Path) -> "Keys":
        """Make new random keys, and keep them in the state directory for only this user."""
        keys = cls(token_urlsafe(32), token_urlsafe(32))
        content = {"prefect": keys.prefect, "mlflow": keys.mlflow}
        write_private(state_dir / KEY_FILE, json.dumps(content))
        return keys


@dataclass(frozen=True)
class Servers:
    """The two addresses, where they were read, and the workspace and keys for them."""

    mlflow: str | None
    prefect: str | None
    source: str
    workspace: str | None = None
    account: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Environment variables; none for servers whose account the user's environment has to name."""

    def describe(self) -> str:
        """One line for people: which servers are meant, and why these."""
        mlflow = self.mlflow or "-"
        if self.workspace:
            mlflow += f", workspace {self.workspace}"
        return f"MLflow {mlflow} · Prefect {self.prefect or '-'} ({self.source})"


def home() -> Path:
    """Where guardianflow keeps its local state: `GUARDIANFLOW_HOME`, or `.guardianflow` here."""
    return Path(os.environ.get("GUARDIANFLOW_HOME", HOME)).absolute()


def private_home(part: str = "") -> Path:
    """`home()`, or a folder in it, made for only this user if it is missing.

    An existing folder with another name than `.guardianflow` may hold other things, so it keeps its
    mode.

    Raises:
        InputError: It belongs to somebody else, or others may write into it.
    """
    folder = private_folder(home(), close=home().name == HOME) / part
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder


def recorded_process(pid: int, created: float) -> "psutil.Process | None":
    """The process with this id and start time; None if it has ended, since ids are used again.

    The time is in seconds since the epoch, as the system reports it.
    """
    import psutil

    # We may look at every process that we started.
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        found = psutil.Process(pid)
        # Half a second: the system rounds start times to clock ticks.
        same = abs(found.create_time() - created) < 0.5
        if same and found.status() != psutil.STATUS_ZOMBIE:
            return found
    return None


def find_servers() -> Servers:
    """The servers that this process is to use.

    Raises:
        InputError: An address holds a password, or the state is open to others or names an
            address of another machine.
        StoredNewer: The state needs a newer version of guardianflow.
    """
    mlflow, prefect = (
        without_account(variable, address) if (address := os.environ.get(variable)) else None
        for variable in _ACCOUNT
    )
    sources = ["environment"] if mlflow or prefect else []
    path = home() / "up" / STATE_FILE
    account: dict[str, str] = {}
    if path.is_file() and (state := _state(path, needed=not (mlflow and prefect))):
        if not (mlflow and prefect):
            sources.append(str(path))
        mlflow, prefect = mlflow or state.mlflow, prefect or state.prefect
        # The keys are only for the servers that they were made for.
        ours = {"MLFLOW": mlflow == state.mlflow, "PREFECT": prefect == state.prefect}
        account = {k: v for k, v in state.account.items() if ours[k.partition("_")[0]]}
    if not prefect and (prefect := _prefect_profile()):
        sources.append("Prefect's profile")
    workspace = os.environ.get(WORKSPACE, "").strip() or None
    return Servers(mlflow, prefect, " and ".join(sources) or "environment", workspace, account)


def _state(path: Path, *, needed: bool) -> Servers | None:
    """What `make up` left; None if it cannot be trusted or read, and is not needed."""
    try:
        private_home()
        return read_state(path)
    except (InputError, StoredNewer):
        if needed:
            raise
        return None


def _prefect_profile() -> str | None:
    """The address in Prefect's active profile, which `prefect config set` writes.

    It is read without Prefect, which takes a second to import.
    """
    folder = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    file = Path(os.environ.get("PREFECT_PROFILES_PATH", folder / "profiles.toml")).expanduser()
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        active = os.environ.get("PREFECT_PROFILE") or content["active"]
        address = content["profiles"][active]["PREFECT_API_URL"]
    except (OSError, ValueError, KeyError, TypeError):
        # No profile, or none that names a server; Prefect itself reports a broken file.
        return None
    return without_account("PREFECT_API_URL", str(address)) or None


def use_servers() -> Servers:
    """Find the servers and point this process, and those it starts, at them."""
    servers = find_servers()
    for key, value in {**QUICK_FAILURE, **NO_TELEMETRY}.items():
        os.environ.setdefault(key, value)
    if servers.mlflow:
        os.environ["MLFLOW_TRACKING_URI"] = servers.mlflow
    if servers.prefect:
        os.environ["PREFECT_API_URL"] = servers.prefect
    os.environ.update(servers.account)
    if "MLFLOW_TRACKING_PASSWORD" in servers.account:
        # A token for another server would be used instead of the password.
        os.environ.pop("MLFLOW_TRACKING_TOKEN", None)
    return servers


def without_account(variable: str, address: str) -> str:
    """The address, if it holds no user and password.

    Addresses are shown in messages, logs, links and evidence, so they may hold no secret.

    Raises:
        InputError: It does; the message does not repeat it.
    """
    if "@" not in urlsplit(address).netloc:
        return address
    host = urlsplit(address).netloc.rpartition("@")[2]
    raise InputError(
        f"{variable} holds an account before the address {host}.",
        remedy=f"Take it out of the address and set {_ACCOUNT[variable]}.",
        variable=variable,
    )


def without_secrets(text: str) -> str:
    """A text for people, without the secrets of this process's environment."""
    secrets = [os.environ.get(variable, "") for variable in SECRETS]
    for variable in _DATABASES:
        quoted = _password(os.environ.get(variable, ""))
        secrets += [quoted, unquote(quoted)]
    for secret in secrets:
        # As it is, as `repr` shows it, and without spaces around it.
        for shown in (secret, repr(secret)[1:-1], secret.strip()):
            if len(shown) >= _SHORTEST_SECRET:
                text = text.replace(shown, "***")
    return text


def _password(address: str) -> str:
    try:
        return urlsplit(address).password or ""
    except ValueError:
        return ""


def read_state(path: Path) -> Servers:
    """Read a state file that `make up` wrote.

    After a crash the file is still there, and anybody may listen on its ports. So the result has
    the account of only those servers whose recorded process runs.

    Raises:
        InputError: The file or its folder is not private to this user, it is unreadable, or not
            about loopback.
        StoredNewer: It, or the file with the keys, needs a newer version of guardianflow.
    """
    private_folder(path.parent)
    require_private(path, f"Run `make up` again, or `chmod 600 {path}` if the file is yours.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        require_reader(content, f"file {path}")
        mlflow, prefect = str(content["mlflow"]), str(content["prefect"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not a state file of `make up`: {error}.",
            remedy="Run `make down`, then `make up`.",
            file=str(path),
        ) from error
    for address in (mlflow, prefect):
        if urlsplit(address).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise InputError(
                f"{path} names {address!r}, which is not on this machine.",
                remedy="Set MLFLOW_TRACKING_URI and PREFECT_API_URL for servers elsewhere.",
                file=str(path),
                value=address,
            )
    account: dict[str, str] = {}
    if keys := Keys.read(path.parent):
        account |= keys.of_mlflow() if _lives(content, "mlflow") else {}
        account |= keys.of_prefect() if _lives(content, "prefect") else {}
    return Servers(mlflow, prefect, str(path), account=account)


def _lives(content: Mapping[str, Any], server: str) -> bool:
    try:
        record = content["pids"][server]
        return recorded_process(int(record["pid"]), float(record["created"])) is not None
    except (ValueError, KeyError, TypeError, OverflowError):
        return False
