"""Folders and files that nobody else may have made, read or written."""

import grp
import json
import os
import pwd
import stat
import subprocess
from dataclasses import replace

import psutil
import pytest

from deployments import demo, local
from deployments.processes import ProcessRecord, spawn
from deployments.state import code_of_now
from guardianflow.errors import InputError
from guardianflow.machine.private import private_folder, write_private
from guardianflow.machine.servers import Keys, find_servers, private_home
from guardianflow.vision.data.cache import Cache

ROOT = os.getuid() == 0


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A state directory in a folder that somebody else may write."""
    everybodys = tmp_path / "everybodys"
    everybodys.mkdir()
    everybodys.chmod(0o777)
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(everybodys / ".guardianflow"))
    monkeypatch.chdir(everybodys)
    path = everybodys / ".guardianflow" / "up"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def mine(tmp_path):
    """A file of the user's that nobody is to touch."""
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    return path


def open_to_others(path):
    path.chmod(0o777)


def of_somebody_else(path):
    os.chown(path, 12_345, 12_345)


def a_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


WAYS = [
    open_to_others,
    a_link,
    pytest.param(
        of_somebody_else, marks=pytest.mark.skipif(not ROOT, reason="only root gives files away")
    ),
]


@pytest.mark.parametrize("spoil", WAYS)
@pytest.mark.parametrize("which", ["home", "state"])
@pytest.mark.parametrize("command", ["up", "down", "status", "env", "open"])
def test_a_state_directory_of_somebody_else_is_refused_and_nothing_written(
    state, mine, spoil, which, command, capsys
):
    (state / "lock").symlink_to(mine)
    (state / "servers.json").symlink_to(mine)
    spoil(state if which == "state" else state.parent)
    assert local.main([command]) == 2
    assert "nothing in it is trusted" in capsys.readouterr().err
    assert mine.read_text() == "years of work"


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_link_in_a_directory_of_ones_own_is_not_followed_either(state, mine, command, capsys):
    (state / "lock").symlink_to(mine)
    assert local.main([command]) == 2
    assert "symbolic link" in capsys.readouterr().err
    assert mine.read_text() == "years of work"


def test_the_demo_takes_no_state_of_somebody_else(state, mine, monkeypatch):
    monkeypatch.setattr(demo, "stop_on_termination", lambda: None)
    (state.parent / "demo.lock").symlink_to(mine)
    assert demo.main([]) == 2
    open_to_others(state.parent)
    assert demo.main([]) == 2
    assert mine.read_text() == "years of work"


@pytest.mark.parametrize("which", ["home", "state"])
@pytest.mark.parametrize("spoil", WAYS)
def test_addresses_and_keys_of_somebody_else_are_not_used(state, spoil, which, monkeypatch):
    for variable in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(variable, raising=False)
    addresses = '{"mlflow": "http://127.0.0.1:1", "prefect": "http://127.0.0.1:2/api"}'
    write_private(state / "servers.json", addresses)
    spoil(state if which == "state" else state.parent)
    with pytest.raises(InputError, match="nothing in it is trusted"):
        find_servers()


def test_what_is_made_is_open_to_nobody_else(state):
    former = os.umask(0)
    try:
        Keys.make(state)
        spawn("echo", ["true"], env={}, cwd=state, log=state / "logs" / "echo.log")
        private_folder(state)
        made = [state, *state.rglob("*")]
    finally:
        os.umask(former)
    assert len(made) == 4
    assert {mode(path) & 0o077 for path in made} == {0}


def test_a_log_is_not_written_through_a_link(state, mine):
    private_folder(state / "logs")
    (state / "logs" / "echo.log").symlink_to(mine)
    with pytest.raises(InputError, match="symbolic link"):
        spawn("echo", ["echo", "x"], env={}, cwd=state, log=state / "logs" / "echo.log")
    assert mine.read_text() == "years of work"


def test_a_file_is_replaced_and_not_written_through_a_link(state, mine):
    (state / "keys.json").symlink_to(mine)
    (state / "keys.json.part").symlink_to(mine)
    Keys.make(state)
    assert mine.read_text() == "years of work"
    assert not (state / "keys.json").is_symlink()


@pytest.mark.parametrize("before", [0o755, 0o700, 0o750])
def test_a_folder_of_ones_own_that_others_could_read_is_closed(tmp_path, before):
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(before)
    assert mode(private_folder(folder)) == 0o700


@pytest.mark.parametrize(("members", "trusted"), [([], True), (["lee"], False)])
def test_a_group_counts_as_others_unless_it_is_the_users_own(
    tmp_path, monkeypatch, members, trusted
):
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o775)
    user = pwd.getpwuid(os.getuid())
    group = grp.struct_group((user.pw_name, "x", user.pw_gid, members))
    monkeypatch.setattr(grp, "getgrgid", {folder.stat().st_gid: group}.__getitem__)
    if trusted:
        assert mode(private_folder(folder)) == 0o700
    else:
        with pytest.raises(InputError, match="written by others"):
            private_folder(folder)


@pytest.mark.parametrize("command", ["up", "down"])
@pytest.mark.parametrize("part", ["logs", "mlflow", "prefect"])
def test_a_folder_that_others_may_write_is_told_before_anything_is_ended(
    state, part, command, capsys, monkeypatch
):
    ended = []
    monkeypatch.setattr(local, "end", ended.append)
    (state / part).mkdir()
    open_to_others(state / part)
    assert local.main([command]) == 2
    assert ended == []
    assert not (state / "lock").exists()
    assert f"chmod -R go-w {state / part}" in capsys.readouterr().err


def test_one_remedy_mends_all_folders_that_an_older_version_left(state, capsys):
    folders = [state.parent, state, *(state / part for part in ("logs", "mlflow", "prefect"))]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        open_to_others(folder)
    assert local.main(["down"]) == 2
    told = capsys.readouterr().err
    assert f"`chmod -R go-w {state.parent}`" in told
    assert "GUARDIANFLOW_HOME" in told
    subprocess.run(["chmod", "-R", "go-w", state.parent], check=True)
    assert local.main(["down"]) == 0
    assert {mode(folder) for folder in folders} == {0o700}


@pytest.mark.parametrize(("name", "kept"), [("guardianflow", 0o755), (".guardianflow", 0o700)])
def test_a_folder_that_was_there_is_closed_only_where_it_is_called_so(
    tmp_path, monkeypatch, name, kept
):
    folder = tmp_path / name
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(folder))
    assert mode(private_home()) == 0o700
    folder.chmod(0o755)
    assert mode(private_home("models")) == 0o700
    assert mode(folder) == kept
    open_to_others(folder)
    with pytest.raises(InputError, match="written by others"):
        private_home()


def test_servers_of_a_version_without_guard_are_told_and_of_a_newer_one_are_known(state):
    record = ProcessRecord("mlflow", 1, 2.0, "x.log")
    known = local.State("http://127.0.0.1:5", "http://127.0.0.1:6/api", {"mlflow": record})
    content = {"mlflow": known.mlflow, "prefect": known.prefect, "new": 1}
    content["pids"] = {"mlflow": {"name": "mlflow", "pid": 1, "created": 2, "log": "x.log", "n": 1}}
    write_private(state / "servers.json", json.dumps(content))
    assert local.State.read(state) == known
    write_private(state / "servers.json", json.dumps({**content, "code": "c"}))
    newer = local.State.read(state)
    assert newer.code == "c"
    newer.write(state)
    assert local.State.read(state) == newer
    write_private(state / "servers.json", json.dumps({**content, "pids": [1]}))
    assert local.State.read(state) is None


@pytest.mark.parametrize(("code", "reused"), [(None, True), ("", False), ("of before", False)])
def test_servers_without_the_guard_or_of_other_code_are_started_again_beside_keys_too(
    state, monkeypatch, code, reused
):
    ended, started = [], []
    this = spawn("x", ["sleep", "60"], env={}, cwd=state, log=state / "x.log")
    pids = {"mlflow": this, "prefect": this}
    code = code_of_now() if code is None else code
    before = local.State("http://127.0.0.1:5", "http://127.0.0.1:6/api", pids, code)
    said = []
    Keys.make(state)
    monkeypatch.setattr(local, "end", ended.append)
    monkeypatch.setattr(local, "wait_for_server", lambda *_: None)
    monkeypatch.setattr(local, "_ports", lambda *_: (5, 6))
    monkeypatch.setattr(local, "spawn", lambda name, *_, **__: started.append(name) or this)
    try:
        after = local._start_servers(state, before, said.append)
    finally:
        this.process().kill()
    assert after.code == code_of_now()
    assert started == ([] if reused else ["mlflow", "prefect"])
    assert len(said) == len(ended)
    assert len(ended) == len(started) / 2
    assert local.State.read(state) == (None if reused else after)


NEWER = '{"min_reader": "99.1", "schema_version": 2, "pids": []}'


@pytest.mark.parametrize("name", ["servers.json", "keys.json", "addresses.json"])
def test_what_a_newer_version_recorded_starts_no_second_servers_and_replaces_no_key(
    state, monkeypatch, capsys, name
):
    did = []
    Keys.make(state)
    write_private(state / name, NEWER)
    kept = {path.name: path.read_bytes() for path in state.iterdir()}
    for act in ("spawn", "end"):
        monkeypatch.setattr(local, act, lambda *_, act=act, **__: did.append(act))
    assert local.main(["up"]) == 3
    told = capsys.readouterr().err
    assert f"The file {state / name} needs guardianflow 99.1 to be read" in told
    assert "Upgrade guardianflow to 99.1 or newer." in told
    assert not did
    now = {path.name: path.read_bytes() for path in state.iterdir() if path.name != "lock"}
    assert now == kept


@pytest.mark.parametrize("command", ["down", "status", "env", "open"])
def test_servers_that_a_newer_version_recorded_are_neither_ended_nor_denied(
    state, monkeypatch, capsys, command
):
    did = []
    write_private(state / "servers.json", NEWER)
    monkeypatch.setattr(local, "end", did.append)
    assert local.main([command]) == 3
    assert "Upgrade guardianflow to 99.1 or newer." in capsys.readouterr().err
    assert not did
    assert (state / "servers.json").read_text() == NEWER


@pytest.mark.parametrize("package", ["blocks", "deployments", "guardianflow"])
def test_code_that_servers_and_workers_hold_is_known_when_it_changes(
    tmp_path, monkeypatch, package
):
    monkeypatch.setattr("deployments.state.CHECKOUT", tmp_path)
    before = code_of_now()
    (tmp_path / package / "care").mkdir(parents=True)
    (tmp_path / package / "care" / "new.py").write_text("1")
    added = code_of_now()
    (tmp_path / package / "care" / "new.py").write_text("2")
    assert len({before, added, code_of_now()}) == 3
    monkeypatch.setattr("deployments.state.version", lambda _: "9")
    assert code_of_now() != added


def test_what_others_may_have_written_is_no_knowledge_of_the_checker(state, tmp_path):
    cache = Cache(tmp_path, 1)
    cache._changed = True
    cache.save()
    assert cache._file.exists()
    cache._file.unlink()
    open_to_others(state.parent)
    cache.save()
    assert not cache._file.exists()


@pytest.mark.parametrize("terminal", [True, False])
def test_passwords_are_shown_in_a_terminal_alone(state, monkeypatch, capsys, terminal):
    this = ProcessRecord("this", os.getpid(), psutil.Process().create_time(), "x.log")
    up = local.State(
        "http://127.0.0.1:1", "http://127.0.0.1:2/api", {"mlflow": this, "prefect": this}
    )
    up.write(state)
    keys = Keys.make(state)
    monkeypatch.setattr(local.webbrowser, "open", lambda _: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    assert local.main(["open"]) == 0
    said = capsys.readouterr().out
    assert "http://127.0.0.1:2" in said
    assert [key in said for key in (keys.prefect, keys.mlflow)] == [terminal] * 2
    assert ("deployments.local env" in said) is not terminal
    replace(up, pids={"mlflow": this}).write(state)
    assert local.main(["open"]) == 4
    assert capsys.readouterr().out == ""
