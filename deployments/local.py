"""The embedded servers behind `make up|down`: MLflow, Prefect and two workers on this machine.

state_dir/servers.json   addresses and processes (state.py), for this user alone, as all of it is
state_dir/keys.json      the passwords of the two servers
state_dir/logs/*.log     what the processes wrote
state_dir/mlflow, state_dir/prefect   their data (SQLite and files)

(nothing) --start--> up --kill -9 of anything--> half up --start--> up --stop--> (data alone)
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
from deployments.readiness import Say, wait_for_server, wait_for_workers
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
_MLFLOW_SERVER = (*_UVICORN, "deployments.mlflow_server:create_app")
_ADDRESSES = "addresses.json"
_PARTS = ("mlflow", "prefect", "logs")


def start(state_dir: Path, *, say: Say = print) -> Servers:
    """Start what does not run yet, apply the deployments, and wait until everything answers.

    Raises:
        ServerUnreachable: A part did not come up; the message names its log file.
        InputError: The state directory is not this user's alone.
        StoredNewer: What is recorded of servers or keys needs a newer version of guardianflow;
            nothing was started, and no key replaced.
    """
    state_dir = state_dir.absolute()
    with _at_work(state_dir):
        before = State.read(state_dir)
        former_mlflow, _ = _former_addresses(state_dir, before)
        state = _start_servers(state_dir, before, say)
        env = environment(state_dir, state.mlflow, state.prefect)
        alive = state.running()
        if idle := [pool for pool in described().pools if f"worker {pool}" not in alive]:
            # What a killed worker had started may live on; nobody would report for it.
            end(strays(state_dir, state.pids.values()))
            prepare = ["deployments.apply", "--prepare", *idle]
            _check_output(prepare, env, state_dir, "work pools", say)
        state = _start_workers(state_dir, state, env)
        former = ["--former-mlflow", former_mlflow] if former_mlflow else []
        _check_output(["deployments.apply", *former], env, state_dir, "deployments", say)
        wait_for_workers(state, described().pools, env, say)
        _check_output(["deployments.apply", "--prove"], env, state_dir, "", say)
        say("  a flow run was started, and ended well")
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
        # Workers first: they say goodbye to the server, and start nothing new meanwhile.
        groups = ([r for r in records if r.name.startswith("worker")], records)
        ran = False
        for group in groups:
            processes = [process for record in group if (process := record.process())]
            ran = ran or bool(processes)
            end(processes)
        left = marked(state_dir)
        end(left)
        (state_dir / STATE_FILE).unlink(missing_ok=True)
        if state:
            # The addresses stay known, so that the next start takes the same ports.
            write_private(state_dir / _ADDRESSES, json.dumps([state.mlflow, state.prefect]))
    say(f"Ended the servers of {state_dir}." if ran or left else f"Nothing ran for {state_dir}.")
    return ran or bool(left)


@contextmanager
def running(state_dir: Path, *, say: Say = print) -> Generator[Servers, None, None]:
    """Servers for the time of a `with` block; ended however the block is left."""
    try:
        yield start(state_dir, say=say)
    finally:
        with _undisturbed():
            stop(state_dir, say=say)


@contextmanager
def _undisturbed() -> Generator[None, None, None]:
    """Let no second Ctrl-C, and no other request to end, break off what has to be finished."""
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
    # What another version started runs with its code and settings; an older one without a key, also
    # beside the keys of a newer one: it is started again.
    keys, code = Keys.read(state_dir), code_of_now()
    ours = before and before.code == code
    if before and ours and keys and {"mlflow", "prefect"} <= alive:
        state = before
    else:
        if alive and not ours:
            say("  what runs was started by another version: it is started again")
        # A lone survivor, or one whose record was lost, would hold the database and the port.
        end(marked(state_dir))
        keys = keys or Keys.make(state_dir)
        mlflow_port, prefect_port = _ports(state_dir, before)
        mlflow = f"http://127.0.0.1:{mlflow_port}"
        state = State(mlflow, f"http://127.0.0.1:{prefect_port}/api", {}, code)
        env = environment(state_dir, state.mlflow, state.prefect)
        env |= {DATA: str(_data(state_dir, "mlflow"))}
        env |= {"PREFECT_SERVER_API_AUTH_STRING": keys.prefect_login}
        _data(state_dir, "prefect")
        for name, command in _server_commands(mlflow_port, prefect_port).items():
            state = _spawn(state_dir, state, name, command, env)
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


def _data(state_dir: Path, name: str) -> Path:
    return private_folder(state_dir / name)


def _server_commands(mlflow_port: int, prefect_port: int) -> dict[str, list[str]]:
    def command(server: tuple[str, ...], port: int) -> list[str]:
        return [sys.executable, "-m", *server, "--host", "127.0.0.1", "--port", str(port)]

    return {
        "mlflow": command(_MLFLOW_SERVER, mlflow_port),
        "prefect": command(PREFECT_SERVER, prefect_port),
    }


def _start_workers(state_dir: Path, state: State, env: Mapping[str, str]) -> State:
    for pool, settings in described().pools.items():
        name = f"worker {pool}"
        if name not in state.running():
            command = [sys.executable, "-m", "deployments.worker", pool, "--name", f"{pool}-local"]
            asking = {**env, "PREFECT_WORKER_QUERY_SECONDS": str(settings.worker_query_seconds)}
            state = _spawn(state_dir, state, name, command, asking)
    return state


def _spawn(
    state_dir: Path, state: State, name: str, command: list[str], env: Mapping[str, str]
) -> State:
    log = state_dir / "logs" / f"{name.replace(' ', '-')}.log"
    record = spawn(name, command, env=env, cwd=CHECKOUT, log=log)
    state = replace(state, pids={**state.pids, name: record})
    # Written after each start: whoever is killed here leaves nothing that `stop` cannot find.
    state.write(state_dir)
    return state


def _check_output(
    arguments: list[str], env: Mapping[str, str], state_dir: Path, what: str, say: Say
) -> None:
    """Run one of our modules to its end; its output goes to a log that a failure names."""
    log = state_dir / "logs" / "apply.log"
    private_folder(log.parent)
    with append_to(log) as output:
        rc = subprocess.run(
            [sys.executable, "-m", *arguments],
            env=dict(env),
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if rc:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise Refused(
            f"{f'Applying {what}' if what else 'A first flow run'} failed. The end of {log}:\n"
            f"{tail}\n",
            remedy="Mend that, then run `make up` again.",
            log=str(log),
        )
    if what:
        say(f"  {what} applied")


@contextmanager
def locked(path: Path, at_work: str) -> Generator[None, None, None]:
    """Hold the lock file; its end, or that of this process, gives it free.

    Raises:
        Refused: Another process holds it; `at_work` says what that one does.
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
    # All of them before anything is ended: one that is refused later would leave it half done.
    for folder in (state_dir / part for part in _PARTS):
        if folder.is_symlink() or folder.exists():
            private_folder(folder)
    return locked(
        state_dir / "lock", f"Another `make up` or `make down` is at work on {state_dir}."
    )


def _status(state_dir: Path) -> int:
    state = State.read(private_folder(state_dir)) if state_dir.exists() else None
    if state is None:
        print(f"Nothing is up for {state_dir}. Start it with `make up`.")
        return 4
    alive = state.running()
    for name, record in state.pids.items():
        print(
            f"  {name:<28} {'runs' if name in alive else 'ENDED'}  pid {record.pid}  {record.log}"
        )
    print(f"  MLflow   {state.mlflow}\n  Prefect  {state.prefect.removesuffix('/api')}")
    return 0 if alive == set(state.pids) else 4


def _print_environment(state_dir: Path) -> int:
    """What a shell needs for the commands of Prefect and MLflow themselves."""
    servers = read_state(state_dir / STATE_FILE) if (state_dir / STATE_FILE).is_file() else None
    if servers is None:
        print(f"Nothing is up for {state_dir}. Start it with `make up`.", file=sys.stderr)
        return 4
    print(f"export MLFLOW_TRACKING_URI={servers.mlflow}")
    print(f"export PREFECT_API_URL={servers.prefect}")
    for name, value in servers.account.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _open(state_dir: Path) -> int:
    """Show the two UIs, and to a terminal alone what they ask for: pipes end in logs."""
    path = state_dir / STATE_FILE
    servers = read_state(path) if path.is_file() else None
    keys = Keys.read(state_dir)
    # Where a server has ended, somebody else's page may be the one that asks for its password.
    if not servers or not keys or servers.account != {**keys.of_mlflow(), **keys.of_prefect()}:
        print(f"Nothing is up for {state_dir}. Start it with `make up`.", file=sys.stderr)
        return 4
    prefect, mlflow = str(servers.prefect).removesuffix("/api"), str(servers.mlflow)
    if sys.stdout.isatty():
        print(f"Prefect  {prefect}\n  password  {keys.prefect_login}")
        print(f"MLflow   {mlflow}\n  user      {KEY_USER}\n  password  {keys.mlflow}")
    else:
        print(f"Prefect  {prefect}\nMLflow   {mlflow}")
        print(
            "The passwords are shown in a terminal alone; `python -m deployments.local env` "
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
