"""The embedded servers behind `make up|down`: MLflow, Prefect and two workers on this machine.

state_dir/servers.json   addresses and processes (state.py), only for this user, like all of it
state_dir/keys.json      the passwords of the two servers
state_dir/logs/*.log     what the processes wrote
state_dir/mlflow, state_dir/prefect   their data (SQLite and files)

(nothing) --start--> up --kill -9 of anything--> half up --start--> up --stop--> (only data)
"""

import argparse
import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from deployments import CHECKOUT
from deployments.mlflow_server import DATA
from deployments.processes import end, free_port, marked, spawn, strays
from deployments.readiness import Say, telling, wait_for_server, wait_for_workers, with_seconds
from deployments.state import State, code_of_now, environment
from guardianflow.errors import GuardianflowError, Refused
from guardianflow.machine.private import append_to, open_private, private_folder, write_private
from guardianflow.machine.servers import (
    KEY_USER,
    STATE_FILE,
    Keys,
    Servers,
    home,
    private_home,
    read_state,
    without_secrets,
)
from guardianflow.prefect_api.prefect_yaml import described
from guardianflow.stored import require_reader

_UVICORN = ("uvicorn", "--factory", f"--app-dir={CHECKOUT}", "--log-level=warning")
PREFECT_SERVER = (*_UVICORN, "deployments.prefect_server:create_app")
"""The module that starts the Prefect server, and its words but for host and port."""
_SERVERS = {
    "mlflow": (*_UVICORN, "deployments.mlflow_server:create_app"),
    "prefect": PREFECT_SERVER,
}
_ADDRESSES = "addresses.json"
_PARTS = (*_SERVERS, "logs")
_NOTHING_UP = "Nothing is up for {}. Start it with `make up`."


def start(state_dir: Path, *, prove: bool = True, say: Say = print) -> Servers:
    """Start what does not run yet, apply the deployments, and wait until everything answers.

    Args:
        state_dir: Where everything is kept.
        prove: Whether to wait until a first flow run has ended.
        say: Told of each step.

    Raises:
        ServerUnreachable: A part did not come up; the message names its log file.
        InputError: The state directory is not this user's alone.
        StoredNewer: What is recorded of servers or keys needs a newer version of guardianflow;
            nothing was started, and no key replaced.
    """
    state_dir, say = state_dir.absolute(), with_seconds(say)
    with _at_work(state_dir):
        before = State.read(state_dir)
        former_mlflow, _ = _former_addresses(state_dir, before)
        state = _start_servers(state_dir, before, say)
        env = environment(state_dir, state.mlflow, state.prefect)
        # What a killed worker had started may live on; nobody would report for it.
        if any(f"worker {pool}" not in state.running() for pool in described().pools):
            end(strays(state_dir, state.pids.values()))
        state = _start_workers(state_dir, state, env)
        former = ["--former-mlflow", former_mlflow] if former_mlflow else []
        if prove:
            former.append("--prove")
        with _applying(former, env, state_dir, say):
            wait_for_workers(state, described().pools, env, say)
    return read_state(state_dir / STATE_FILE)


def stop(state_dir: Path, *, say: Say = print) -> bool:
    """End everything that was started for `state_dir`; its data stays.

    Returns:
        Whether anything ran.

    Raises:
        StoredNewer: What is recorded needs a newer version of guardianflow; nothing was ended.
    """
    state_dir = state_dir.absolute()
    if not state_dir.is_dir():
        say(f"Nothing ran for {state_dir}.")
        return False
    with _at_work(state_dir):
        state = State.read(state_dir)
        records = list(state.pids.values()) if state else []
        ran = any(record.process() for record in records)
        # Workers first: they say goodbye to the server, and start nothing new meanwhile.
        for group in ([r for r in records if r.name.startswith("worker")], records):
            end([process for record in group if (process := record.process())])
        left = marked(state_dir)
        end(left)
        (state_dir / STATE_FILE).unlink(missing_ok=True)
        if state:
            # The addresses stay known, so that the next start takes the same ports.
            write_private(state_dir / _ADDRESSES, json.dumps([state.mlflow, state.prefect]))
    say(f"Ended the servers of {state_dir}." if ran or left else f"Nothing ran for {state_dir}.")
    return ran or bool(left)


@contextmanager
def running(
    state_dir: Path, *, prove: bool = True, say: Say = print
) -> Generator[Servers, None, None]:
    """Servers for as long as a `with` block lasts; ended however it is left."""
    try:
        yield start(state_dir, prove=prove, say=say)
    finally:
        with _undisturbed():
            stop(state_dir, say=say)


@contextmanager
def _undisturbed() -> Generator[None, None, None]:
    """Ignore a second Ctrl-C, and other requests to end: what goes on here has to be finished."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _start_servers(state_dir: Path, before: State | None, say: Say) -> State:
    alive = before.running() if before else set[str]()
    # Servers of another version run with its code and settings, those of an older one without a
    # key, even beside the keys of a newer one: they are started again.
    keys, code = Keys.read(state_dir), code_of_now()
    ours = before and before.code == code
    if before and ours and keys and _SERVERS.keys() <= alive:
        state = before
    else:
        if alive and not ours:
            say("  what runs was started by another version: it is started again")
        # A lone survivor, or one whose record was lost, would hold the database and the port.
        end(marked(state_dir))
        keys = keys or Keys.make(state_dir)
        ports = _ports(state_dir, before)
        mlflow, prefect = (f"http://127.0.0.1:{port}" for port in ports)
        state = State(mlflow, f"{prefect}/api", {}, code)
        env = environment(state_dir, state.mlflow, state.prefect)
        env |= {DATA: str(state_dir / "mlflow")}
        env |= {"PREFECT_SERVER_API_AUTH_STRING": keys.prefect_login}
        for (name, server), port in zip(_SERVERS.items(), ports, strict=True):
            private_folder(state_dir / name)
            words = [*server, "--host", "127.0.0.1", "--port", str(port)]
            state = _spawn(state_dir, state, name, words, env)
    wait_for_server(state, "mlflow", f"{state.mlflow}/health", say)
    wait_for_server(state, "prefect", f"{state.prefect}/health", say)
    return state


def _ports(state_dir: Path, before: State | None) -> tuple[int, int]:
    former = _former_addresses(state_dir, before)
    mlflow, prefect = (urlsplit(address).port if address else None for address in former)
    first = free_port(mlflow)
    second = free_port(prefect)
    return first, second if second != first else free_port()


def _former_addresses(state_dir: Path, before: State | None) -> tuple[str | None, str | None]:
    """Where MLflow and Prefect were last, also after a `stop`, which removes the state."""
    if before:
        return before.mlflow, before.prefect
    path = state_dir / _ADDRESSES
    with suppress(FileNotFoundError, ValueError, TypeError):
        content = json.loads(path.read_text(encoding="utf-8"))
        require_reader(content, f"file {path}")
        mlflow, prefect = content
        return str(mlflow), str(prefect)
    return None, None


def _start_workers(state_dir: Path, state: State, env: Mapping[str, str]) -> State:
    for pool in described().pools:
        name = f"worker {pool}"
        if name not in state.running():
            words = ["deployments.worker", pool, "--name", f"{pool}-local", "--alone"]
            state = _spawn(state_dir, state, name, words, env)
    return state


def _spawn(
    state_dir: Path, state: State, name: str, words: list[str], env: Mapping[str, str]
) -> State:
    """Start a module in the background and record it."""
    log = state_dir / "logs" / f"{name.replace(' ', '-')}.log"
    record = spawn(name, [sys.executable, "-m", *words], env=env, cwd=CHECKOUT, log=log)
    state = replace(state, pids={**state.pids, name: record})
    # Written after each start: `stop` finds everything, even if this process is killed here.
    state.write(state_dir)
    return state


@contextmanager
def _applying(
    words: list[str], env: Mapping[str, str], state_dir: Path, say: Say
) -> Generator[None, None, None]:
    """Run `deployments.apply` beside a block; its output goes to a log that a failure names.

    Raises:
        Refused: It failed.
    """
    log, step = state_dir / "logs" / "apply.log", "applying the deployments"
    private_folder(log.parent)
    with append_to(log) as output, telling(step, say):
        command = [sys.executable, "-m", "deployments.apply", *words]
        applying = subprocess.Popen(
            command,
            env=dict(env),
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
            failed = applying.wait()
        finally:
            applying.kill()
            applying.wait()
    if failed:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise Refused(
            f"{step.capitalize()} failed. The end of {log}:\n{tail}\n",
            remedy="Mend that, then run `make up` again.",
            log=str(log),
        )
    say(f"  {step}: done")


@contextmanager
def locked(path: Path, at_work: str) -> Generator[None, None, None]:
    """Hold a lock file until the block, or this process, ends.

    Raises:
        Refused: Another process holds it; the message is `at_work`.
    """
    with os.fdopen(open_private(path, os.O_RDWR), "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(at_work, remedy="Wait until it is done.") from error
        yield


def _at_work(state_dir: Path) -> AbstractContextManager[None]:
    private_home()
    private_folder(state_dir)
    # All of them before anything is ended: a refusal later would leave it half done.
    for folder in (state_dir / part for part in _PARTS):
        if folder.is_symlink() or folder.exists():
            private_folder(folder)
    return locked(
        state_dir / "lock", f"Another `make up` or `make down` is at work on {state_dir}."
    )


def _status(state_dir: Path) -> int:
    state = State.read(private_folder(state_dir)) if state_dir.exists() else None
    if state is None:
        print(_NOTHING_UP.format(state_dir))
        return 4
    alive = state.running()
    for name, record in state.pids.items():
        print(
            f"  {name:<28} {'runs' if name in alive else 'ENDED'}  pid {record.pid}  {record.log}"
        )
    print(f"  MLflow   {state.mlflow}\n  Prefect  {state.prefect.removesuffix('/api')}")
    return 0 if alive == set(state.pids) else 4


def _read_servers(state_dir: Path) -> Servers | None:
    path = state_dir / STATE_FILE
    return read_state(path) if path.is_file() else None


def _print_environment(state_dir: Path) -> int:
    """What a shell needs for the commands of Prefect and MLflow themselves."""
    servers = _read_servers(state_dir)
    if servers is None:
        print(_NOTHING_UP.format(state_dir), file=sys.stderr)
        return 4
    print(f"export MLFLOW_TRACKING_URI={servers.mlflow}")
    print(f"export PREFECT_API_URL={servers.prefect}")
    for name, value in servers.account.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _open(state_dir: Path) -> int:
    """Open the two UIs; their passwords are shown only in a terminal, since pipes end in logs."""
    servers, keys = _read_servers(state_dir), Keys.read(state_dir)
    # Where a server has ended, the page that asks for its password may be somebody else's.
    if not servers or not keys or servers.account != {**keys.of_mlflow(), **keys.of_prefect()}:
        print(_NOTHING_UP.format(state_dir), file=sys.stderr)
        return 4
    prefect, mlflow = str(servers.prefect).removesuffix("/api"), str(servers.mlflow)
    if sys.stdout.isatty():
        print(f"Prefect  {prefect}\n  password  {keys.prefect_login}")
        print(f"MLflow   {mlflow}\n  user      {KEY_USER}\n  password  {keys.mlflow}")
    else:
        print(f"Prefect  {prefect}\nMLflow   {mlflow}")
        print(
            "The passwords are shown only in a terminal; `python -m deployments.local env` "
            "writes them for a shell."
        )
    for address in (prefect, mlflow):
        webbrowser.open(address)
    return 0


_LOOKING: Mapping[str, Callable[[Path], int]] = {
    "status": _status,
    "env": _print_environment,
    "open": _open,
}


def main(arguments: list[str] | None = None) -> int:
    """The command `python -m deployments.local up|down|status|env|open`."""
    parser = argparse.ArgumentParser(prog="python -m deployments.local", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "status", "env", "open"))
    parser.add_argument("--demo", action="store_true", help="what `make demo` left, instead")
    options = parser.parse_args(arguments)
    command, state_dir = options.command, home() / ("demo" if options.demo else "up")
    try:
        if home().exists():
            private_home()
        if command in _LOOKING:
            return _LOOKING[command](state_dir)
        if command == "down":
            stop(state_dir)
            return 0
        print(f"Starting the embedded servers; their state is in {state_dir}", flush=True)
        servers = start(state_dir, say=lambda line: print(line, flush=True))
        ui = (servers.prefect or "").removesuffix("/api")
        demo = " --demo" if options.demo else ""
        end_it = f"python -m deployments.local down{demo}" if demo else "make down"
        print(f"Up: Prefect {ui} and MLflow {servers.mlflow}.")
        print(f"`python -m deployments.local open{demo}` shows both, and the passwords.")
        print(f"End it with `{end_it}`.")
    except GuardianflowError as error:
        print(without_secrets(str(error)), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted; `make up` goes on, `make down` ends what was started.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
