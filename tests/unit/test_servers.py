"""Where the servers are: the environment first, then a state file that can be trusted."""

import json
import os
import traceback
from urllib.parse import unquote

import psutil
import pytest

from guardianflow.cli.output import Output
from guardianflow.errors import InputError, StoredNewer
from guardianflow.machine.private import write_private
from guardianflow.machine.servers import (
    Keys,
    find_servers,
    home,
    read_state,
    use_servers,
    without_secrets,
)
from guardianflow.mlflow_store.client import connect

THIS = {"name": "x", "pid": os.getpid(), "created": psutil.Process().create_time(), "log": "x"}
STATE = {
    "mlflow": "http://127.0.0.1:5001",
    "prefect": "http://localhost:4201/api",
    "pids": {"mlflow": THIS, "prefect": THIS},
}


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_PROFILE", raising=False)
    monkeypatch.delenv("MLFLOW_WORKSPACE", raising=False)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
    path = tmp_path / "up" / "servers.json"
    path.parent.mkdir()
    path.write_text(json.dumps(STATE))
    path.chmod(0o600)
    return path


def test_what_make_up_left_is_used_in_a_new_terminal(state):
    servers = find_servers()
    assert (servers.mlflow, servers.prefect) == (STATE["mlflow"], STATE["prefect"])
    assert str(state) in servers.describe()
    assert home() == state.parents[1]


def test_the_environment_wins_over_the_state_file(state, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://plant:5000")
    servers = find_servers()
    assert (servers.mlflow, servers.prefect) == ("http://plant:5000", STATE["prefect"])
    assert "environment and" in servers.source
    monkeypatch.setenv("PREFECT_API_URL", "http://plant:4200/api")
    assert find_servers().source == "environment"


def test_without_either_there_is_no_server(state):
    state.unlink()
    servers = find_servers()
    assert (servers.mlflow, servers.prefect) == (None, None)
    assert servers.describe() == "MLflow - · Prefect - (environment)"


PROFILES = """
active = "plant"

[profiles.plant]
PREFECT_API_URL = "http://plant:4200/api"

[profiles.other]
PREFECT_API_URL = "http://kim:s3cret@other:4200/api"

[profiles.ephemeral]
PREFECT_SERVER_ALLOW_EPHEMERAL_MODE = "true"
"""


def test_prefects_profile_is_used_where_nothing_else_names_a_server(state, tmp_path, monkeypatch):
    profiles = tmp_path / "profiles.toml"
    profiles.write_text(PROFILES)
    assert find_servers().prefect == STATE["prefect"]
    state.unlink()
    servers = find_servers()
    assert (servers.mlflow, servers.prefect) == (None, "http://plant:4200/api")
    assert servers.source == "Prefect's profile"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://plant:5000")
    assert find_servers().source == "environment and Prefect's profile"
    monkeypatch.setenv("PREFECT_PROFILE", "ephemeral")
    assert find_servers().prefect is None
    monkeypatch.setenv("PREFECT_PROFILE", "other")
    with pytest.raises(InputError, match="other:4200"):
        find_servers()
    for broken in ("[", "", 'active = "plant"', 'active = ["plant"]\n[profiles]'):
        profiles.write_text(broken)
        monkeypatch.delenv("PREFECT_PROFILE", raising=False)
        assert find_servers().prefect is None
    monkeypatch.setenv("PREFECT_API_URL", "http://here:4200/api")
    assert find_servers().prefect == "http://here:4200/api"


def test_the_first_line_names_the_workspace(state, monkeypatch):
    monkeypatch.setenv("MLFLOW_WORKSPACE", "plant-a")
    assert f"MLflow {STATE['mlflow']}, workspace plant-a · Prefect" in find_servers().describe()


@pytest.mark.parametrize(
    ("elsewhere", "known"),
    [
        ({}, ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_USERNAME", "PREFECT_API_AUTH_STRING"]),
        ({"MLFLOW_TRACKING_URI": "http://plant:5000"}, ["PREFECT_API_AUTH_STRING"]),
        (
            {"PREFECT_API_URL": "http://plant:4200/api"},
            ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_USERNAME"],
        ),
        (
            {"PREFECT_API_URL": STATE["prefect"], "MLFLOW_TRACKING_URI": "http://plant"},
            ["PREFECT_API_AUTH_STRING"],
        ),
    ],
)
def test_keys_go_to_the_servers_that_they_are_for_alone(state, monkeypatch, elsewhere, known):
    keys = Keys.make(state.parent)
    monkeypatch.setattr(os, "environ", {**os.environ, "MLFLOW_TRACKING_TOKEN": "x", **elsewhere})
    servers = find_servers()
    assert sorted(servers.account) == known
    assert keys.prefect not in f"{servers} {keys} {servers.describe()}"
    use_servers()
    for name, value in servers.account.items():
        assert os.environ[name] == value
    assert ("MLFLOW_TRACKING_TOKEN" in os.environ) is ("MLFLOW_TRACKING_USERNAME" not in known)


ENDED = {**THIS, "created": THIS["created"] - 60}


@pytest.mark.parametrize("gone", ["mlflow", "prefect"])
@pytest.mark.parametrize(
    "record",
    [ENDED, {**THIS, "pid": 2**22 + 1}, {**THIS, "pid": 2**70}, {**THIS, "pid": "x"}, {}, 7],
)
def test_keys_are_not_sent_to_whoever_took_the_port_of_a_server_that_ended(state, gone, record):
    Keys.make(state.parent)
    state.write_text(json.dumps({**STATE, "pids": {**STATE["pids"], gone: record}}))
    servers = find_servers()
    assert (servers.mlflow, servers.prefect) == (STATE["mlflow"], STATE["prefect"])
    assert servers.account
    assert not any(name.startswith(gone.upper()) for name in servers.account)
    for pids in ([1], {}, None):
        state.write_text(json.dumps({**STATE, "pids": pids}))
        assert not find_servers().account


def test_keys_that_others_can_read_are_not_trusted(state):
    Keys.make(state.parent)
    (state.parent / "keys.json").chmod(0o644)
    with pytest.raises(InputError, match="not trusted"):
        find_servers()


@pytest.mark.parametrize("content", ["{", "[]", '{"prefect": "s3cret"}'])
def test_a_file_of_keys_that_holds_something_else_is_refused_and_not_repeated(state, content):
    write_private(state.parent / "keys.json", content)
    with pytest.raises(InputError, match="holds no keys") as refused:
        find_servers()
    assert "s3cret" not in json.dumps(refused.value.to_json())


@pytest.mark.parametrize("name", ["servers.json", "keys.json"])
def test_state_that_needs_a_newer_version_is_one_sentence(state, monkeypatch, name):
    Keys.make(state.parent)
    path = state.parent / name
    write_private(path, '{"min_reader": "99.1", "servers": []}')
    with pytest.raises(StoredNewer) as refused:
        find_servers()
    assert f"{path} needs guardianflow 99.1 to be read" in refused.value.message
    assert refused.value.remedy == "Upgrade guardianflow to 99.1 or newer."
    # Where the environment names both, nothing of it is needed.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://plant:5000")
    monkeypatch.setenv("PREFECT_API_URL", "http://plant:4200/api")
    assert find_servers().source == "environment"


def test_using_the_servers_points_child_processes_at_them_and_fails_fast(state, monkeypatch):
    for key in list(os.environ):
        if key.startswith(("MLFLOW_HTTP", "NNCF_", "OPENVINO_", "PREFECT_SERVER")):
            monkeypatch.delenv(key)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    use_servers()
    assert os.environ["MLFLOW_TRACKING_URI"] == STATE["mlflow"]
    assert os.environ["PREFECT_API_URL"] == STATE["prefect"]
    assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) <= 3
    assert os.environ["NNCF_CI"] == "1"


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "PREFECT_API_URL"])
def test_an_address_with_a_password_is_refused_and_not_repeated(state, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://kim:s3cret@plant:5000")
    with pytest.raises(InputError, match=f"{variable}.*plant:5000") as refused:
        find_servers()
    assert "s3cret" not in json.dumps(refused.value.to_json())
    assert "kim" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o604])
def test_a_state_file_that_others_can_reach_is_not_trusted(state, mode):
    state.chmod(mode)
    with pytest.raises(InputError, match="not trusted") as refused:
        find_servers()
    assert "chmod 600" in refused.value.remedy


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "make up"),
        ("[]", "make up"),
        (json.dumps({"mlflow": "http://127.0.0.1:1"}), "make up"),
        (json.dumps({**STATE, "mlflow": "http://evil.example:5000"}), "evil.example"),
        (json.dumps({**STATE, "prefect": "http://127.0.0.1.evil.example/api"}), "evil.example"),
        (json.dumps({**STATE, "mlflow": "http://127.0.0.1@evil.example"}), "evil.example"),
    ],
)
def test_a_state_file_that_says_something_else_is_refused(state, content, words):
    state.write_text(content)
    with pytest.raises(InputError, match=words):
        read_state(state)


@pytest.mark.parametrize("secret", ["s3cret-token\r", "s3cret-token\n", "s3cret-token"])
def test_no_message_repeats_a_secret(capsys, monkeypatch, secret):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", secret)
    for as_json in (True, False):
        message = f"The header {secret!r} is not right: Bearer {secret}"
        Output(as_json=as_json).error({"message": message, "remedy": "", "seen": [secret]})
    out, err = capsys.readouterr()
    assert "s3cret" not in out + err
    assert "The header" in out


@pytest.mark.parametrize("password", ["s3cret-word", "s3cret%2Fword"])
def test_no_message_repeats_the_password_of_the_database(monkeypatch, password):
    address = f"postgresql+asyncpg://prefect:{password}@db.plant/prefect"
    monkeypatch.setenv("GUARDIANFLOW_PREFECT_DATABASE", address)
    shown = without_secrets(f"{address} is not there; asked with {unquote(password)}")
    assert "s3cret" not in shown
    assert "prefect:***@db.plant/prefect" in shown
    monkeypatch.setenv("GUARDIANFLOW_PREFECT_DATABASE", "postgresql://[broken")
    assert without_secrets("text") == "text"


def test_a_token_that_no_request_can_carry_is_named_and_not_shown(capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cret-token\r")
    with pytest.raises(InputError, match="MLFLOW_TRACKING_TOKEN holds") as refused:
        connect("http://127.0.0.1:9")
    told = "".join(traceback.format_exception(refused.value))
    assert "s3cret" not in told
