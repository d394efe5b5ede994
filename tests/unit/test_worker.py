"""On which server a command works, and with which Python flow runs are started."""

import json
import os
import runpy
import shlex
import subprocess
import sys

import psutil
import pytest
import yaml
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_WORKER_QUERY_SECONDS,
    temporary_settings,
)

from deployments import CHECKOUT
from deployments.apply import main as apply
from deployments.named import named_prefect
from deployments.tool import main as tool
from deployments.worker import PYTHON
from deployments.worker import main as work
from guardianflow.machine.servers import STATE_FILE, Keys


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No server is named by the environment, the state of `make up` or Prefect's profile."""
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path))
    for variable in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        # So that it is taken back where the command sets it.
        monkeypatch.setenv(variable, "")
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        yield tmp_path


@pytest.mark.parametrize(
    ("command", "words"),
    [(apply, []), (work, ["guardianflow-release"]), (tool, ["prefect", "work-pool", "ls"])],
    ids=["apply", "worker", "tool"],
)
def test_no_command_works_on_a_temporary_server(command, words, capsys):
    assert command(words) == 2
    assert "No Prefect server is named" in capsys.readouterr().err


def test_a_command_of_mlflow_works_on_no_files_of_this_folder(capsys):
    assert tool(["mlflow", "runs", "restore", "--run-id", "0" * 32]) == 2
    assert "No MLflow server is named" in capsys.readouterr().err


def test_a_server_that_is_away_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert apply([]) == 4
    said = capsys.readouterr().err
    assert said.startswith("The Prefect server http://127.0.0.1:9/api does not answer")


def test_what_make_up_left_is_found_and_said_with_its_key(nowhere, monkeypatch, capsys):
    state = nowhere / "up" / STATE_FILE
    state.parent.mkdir()
    this = {"pid": os.getpid(), "created": psutil.Process().create_time()}
    addresses = {"mlflow": "http://127.0.0.1:5", "prefect": "http://127.0.0.1:6/api"}
    state.write_text(json.dumps({**addresses, "pids": {"mlflow": this, "prefect": this}}))
    state.chmod(0o600)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    keys = Keys.make(state.parent)
    assert named_prefect() == "http://127.0.0.1:6/api"
    assert os.environ["PREFECT_API_AUTH_STRING"] == keys.prefect_login
    said = capsys.readouterr().out
    assert str(state) in said
    assert keys.prefect not in said


def test_the_environment_comes_before_the_profile(monkeypatch, capsys):
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:7/api"}):
        assert named_prefect() == "http://127.0.0.1:7/api"
        monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:8/api")
        assert named_prefect() == "http://127.0.0.1:8/api"
    assert "Prefect's profile" in capsys.readouterr().out


@pytest.mark.parametrize(("said", "expected"), [({}, 5), ({PREFECT_WORKER_QUERY_SECONDS: 15}, 15)])
def test_a_worker_asks_as_often_as_its_pool_says_unless_prefect_is_told(
    monkeypatch, said, expected
):
    asked = []

    def start(*_args, **_options):
        asked.append(PREFECT_WORKER_QUERY_SECONDS.value())

    monkeypatch.setattr(runpy, "run_module", start)
    monkeypatch.setattr(sys, "argv", ["worker"])
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with temporary_settings(said):
        work(["guardianflow-train"])
    assert asked == [expected]


def test_a_worker_that_prepares_its_pool_says_in_one_sentence_that_the_server_is_away(
    monkeypatch, capsys
):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert work(["guardianflow-train", "--alone"]) == 4
    said = capsys.readouterr().err
    assert said.startswith("The Prefect server http://127.0.0.1:9/api does not answer")


def test_flow_runs_are_started_with_the_python_of_the_worker(tmp_path):
    described = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))
    commands = {one["work_pool"]["job_variables"]["command"] for one in described["deployments"]}
    (command,) = commands
    assert "-m prefect.engine" in command
    # The same words, but for what Python is asked to do; `python` and `.venv` are others here.
    said = subprocess.run(
        shlex.split(command.replace("-m prefect.engine", "-m site")),
        env={PYTHON: sys.executable, "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert sys.prefix in said.stdout


def test_a_worker_takes_what_make_up_left_for_itself_too(nowhere):
    state = nowhere / "up" / STATE_FILE
    state.parent.mkdir()
    state.write_text('{"mlflow": "http://127.0.0.1:5", "prefect": "http://127.0.0.1:6/api"}')
    state.chmod(0o600)
    # What Prefect read when it was imported is what its worker goes by.
    asked = (
        "from deployments import worker; address = worker.named_prefect();"
        "from prefect.settings import PREFECT_API_URL as said; assert said.value() == address"
    )
    subprocess.run([sys.executable, "-c", asked], env=os.environ, cwd=CHECKOUT, check=True)
