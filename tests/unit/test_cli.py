import errno
import json
import os
import re
import socket
import subprocess
import sys
import time
from base64 import b64decode
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import ClassVar

import pytest
import typer.main

import guardianflow.cli
from guardianflow import __version__
from guardianflow.cli import main
from guardianflow.cli.app import app
from guardianflow.cli.importing import _only_one
from guardianflow.errors import InputError
from guardianflow.mlflow_store.registered_models import RegisteredModelInfo
from guardianflow.prefect_api.flowruns import WaitingApproval

WELDING = "donghwa-entec/busan-plant1/welding/ppe"
PPE = ["--scenario", "donghwa-entec-ppe", "--version", "v1"]


def run(capsys, monkeypatch, *words, environment=None):
    for key in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(key, raising=False)
    for key, value in (environment or {}).items():
        monkeypatch.setenv(key, value)
    with pytest.raises(SystemExit) as stopped:
        main(words)
    out, err = capsys.readouterr()
    return stopped.value.code, out, err


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """No state of `make up`, whatever runs on the machine of whoever runs the tests."""
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))


def test_help_shows_commands_in_groups(capsys, monkeypatch):
    code, out, _ = run(capsys, monkeypatch, "--help")
    assert code == 0
    for word in ("Daily", "Care", "run", "promote", "approve", "rollback", "history", "Exit codes"):
        assert word in out


def commands_below(command, words=()):
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(words), command.callback.__module__.rpartition(".")[2]
        return
    for name, one in below.items():
        yield from commands_below(one, (*words, name))


COMMANDS = dict(commands_below(typer.main.get_command(app)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(capsys, monkeypatch, command):
    code, out, _ = run(capsys, monkeypatch, *command.split(), "--help")
    assert code == 0
    assert "Example" in out
    assert f"guardianflow {command}" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_and_option_is_explained_in_a_sentence(command):
    found = typer.main.get_command(app)
    for word in command.split():
        found = found.commands[word]
    for one in found.params:
        assert re.fullmatch(r"[A-Z`a-z].*\.", one.help or "", re.DOTALL), one.name


@pytest.mark.parametrize("words", [["--help"], ["--version"], []])
def test_help_imports_nothing_heavy(words):
    heavy = "mlflow torch openvino nncf prefect numpy"
    code = (
        "import sys\nfrom guardianflow.cli import main\n"
        f"try: main({words})\nexcept SystemExit: pass\n"
        f"print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_commands_that_look_at_no_image_need_no_extra():
    # MLflow's full package imports some of these packages by itself, where they are installed.
    code = (
        "import sys\n"
        "from guardianflow.machine.extras import EXTRA_OF\n"
        "sys.modules |= dict.fromkeys(EXTRA_OF)\n"
        # history, doctor, health report, health show, approver list
        "from guardianflow.monitoring import doctor, prefect_checks, silence, survey\n"
        "from guardianflow.health import box_reports, report\n"
        "from guardianflow.promotion.approval import one_time_codes\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["models"], "No MLflow server is named"),
        (["models", ""], "No MLflow server is named"),
        (["doctor", ""], "No MLflow server is named"),
        (["compare", WELDING, "1", "2", "--against", ""], "No MLflow server is named"),
        (["history", ""], "is not a model name"),
        (["measure", "a/b"], "is not a model name"),
        (["compare", WELDING, "1", "2", "--against", "a/b"], "is not a model name"),
        (["pending"], "No Prefect server is named"),
        (["promote", "No/Such Name"], "is not a model name"),
        (["import", "a/b-c/d/e", *PPE, "--onnx", "x"], "belongs to donghwa-entec/busan-plant1"),
        (["import", WELDING, *PPE], "0 models are given"),
        (["import", WELDING, *PPE, "--onnx", "x.onnx", "--ir", "x.xml"], "2 models are given"),
        (["import", WELDING, *PPE, "--onnx", "x.xml"], "Use --ir for it"),
        (["import", WELDING, *PPE, "--onnx", "x.onnx", "--map", "person"], "is not a pair"),
        (["import", WELDING, *PPE, "--onnx", "x.onnx", "--layout", "yolo"], "'yolo' is not one of"),
        (["import", WELDING, *PPE, "--onnx", "x.onnx", "--mean", "1,2"], "is not three numbers"),
        (["import", WELDING, *PPE, "--onnx", "x.onnx", "--std", "0,0,0"], "is not three numbers"),
        (["import", WELDING, *PPE, "--onnx", "x.onnx", "--max-memory-gib", "inf"], "equal to 4096"),
        (["compare", "a/b", "1", "2"], "is not a model name"),
        (["rollback", "a/b"], "is not a model name"),
        (["run", "nowhere", "--type", "train", "--version", "v1"], "no scenario 'nowhere'"),
        (["run", "donghwa-entec-ppe", "--type", "train", "--version", "v99"], "no version 'v99'"),
        (["run", "donghwa-entec-ppe", "--type", "bake", "--version", "v1"], "bake"),
        (["promote", "a/b/c/d", "--force"], "--force needs a --reason"),
        (["promote", "a/b-c/d/e", "--reason", "ok"], "has 2 characters"),
        (["rollback", "a/b-c/d/e", "--only"], "needs a --reason"),
        (["doctor", "a/b"], "is not a model name"),
        (["doctor", "--files", "all"], "'all' is not one of"),
        (["repair", "a/b-c/d/e", "--keep", "ledger"], "needs a --reason"),
        (["approve"], "needs who decides: --approver is missing"),
        (["approve", "--approver", "K", "--reason", "ok!"], "needs who decides: 'K' is too short"),
        (["approve", "--approver", "Kim"], "needs why: --reason is missing"),
        (["reject", "--approver", "Kim", "--reason", "ok"], "needs why: 'ok' is too short"),
        (
            ["dataset", "check", ".", "--report", "no/such/place/x.html"],
            "no/such/place is not a fold",
        ),
        (["dataset", "check", ".", "--report", "/tmp"], "/tmp is a folder"),
        (["approver", "add", "Kim"], "GUARDIANFLOW_APPROVERS names no file"),
        (["export-errors", "a/b", "--to", "x"], "is not a model name"),
        (["export-errors", "a/b-c/d/e", "--to", "/etc"], "is not empty"),
        (["no-such-command"], "no-such-command"),
    ],
)
def test_bad_input_is_one_paragraph_and_exit_2(capsys, monkeypatch, words, message):
    code, out, err = run(capsys, monkeypatch, *words)
    assert code == 2
    assert out == ""
    assert message in " ".join(err.split())
    assert "Traceback" not in err


def test_json_errors_are_json_on_stdout(capsys, monkeypatch):
    code, out, err = run(capsys, monkeypatch, "promote", "No Name", "--json")
    error = json.loads(out)["error"]
    assert code == 2
    assert error["type"] == "NameInvalid"
    assert error["value"] == "No Name"
    assert error["remedy"]
    assert err == ""


def test_usage_errors_are_json_too(capsys, monkeypatch):
    code, out, _ = run(capsys, monkeypatch, "run", "--json")
    assert code == 2
    assert json.loads(out)["error"]["type"] == "UsageError"


class Renamed:
    """Prefect with one promotion whose flow run somebody has given such a name."""

    def __init__(self):
        now = datetime.now(UTC)
        self.asked = WaitingApproval("1" * 36, "x[/]", WELDING, 2, "better", now, "http://prefect")
        self.answered = []

    def pending(self):
        return [self.asked]

    def under_way(self):
        return []

    def answer(self, *given):
        self.answered.append(given)


def test_a_flow_run_of_any_name_is_answered_and_named(capsys, monkeypatch):
    renamed = Renamed()
    monkeypatch.setattr("guardianflow.cli.approvals.open_orchestrator", lambda *_: renamed)
    words = ("--approver", "Kim Minji", "--reason", "saw the pictures")
    code, out, _ = run(capsys, monkeypatch, "approve", *words)
    assert (code, len(renamed.answered)) == (0, 1)
    assert f"answered approve: {WELDING} version 2 (x[/]); the flow goes on" in out


def test_what_is_asked_already_is_named_whatever_its_name(capsys, monkeypatch):
    renamed = Renamed()
    plan = SimpleNamespace(moves=("one",), version=2)
    registry = SimpleNamespace(plan_promotion=lambda *_, **__: plan)
    monkeypatch.setattr("guardianflow.cli.promote.open_orchestrator", lambda *_: renamed)
    monkeypatch.setattr("guardianflow.cli.promote.open_registry", lambda *_: registry)
    monkeypatch.setattr("guardianflow.promotion.rejections", lambda *_: ())
    code, out, _ = run(capsys, monkeypatch, "promote", WELDING, "--request")
    assert (code, out) == (0, "flow run x[/] already asks for this version\n")


INT8 = f"{WELDING}__openvino_int8"


@pytest.mark.parametrize(
    ("champion", "named", "step"),
    [
        (None, (), WELDING),
        (1, (), WELDING),
        (2, (), INT8),
        (1, ("--model-version", "2"), f"{WELDING} --model-version 2"),
        (2, ("--model-version", "2"), INT8),
    ],
)
def test_after_a_quantization_the_base_is_promoted_unless_it_is_champion(
    capsys, monkeypatch, champion, named, step
):
    version = champion and SimpleNamespace(version=champion)
    registry = SimpleNamespace(get_champion=lambda _: version)
    runner = SimpleNamespace(run=lambda: None)
    monkeypatch.setattr("guardianflow.cli.run.open_registry", lambda *_: registry)
    monkeypatch.setattr("guardianflow.cli.run._tell_quantized", lambda *_: {"model_name": INT8})
    quantization = "guardianflow.lifecycle.quantization"
    monkeypatch.setattr(f"{quantization}.choose_source", lambda *_: 2)
    monkeypatch.setattr(f"{quantization}.QuantizationRunner", lambda *_, **__: runner)
    words = ("run", "donghwa-entec-ppe", "--type", "quant", "--version", "v3", *named)
    code, _, err = run(capsys, monkeypatch, *words)
    assert code == 0
    assert f"next: guardianflow promote {step}\n" in err


def test_the_versions_of_a_model_say_what_keeps_a_candidate_from_promotion(capsys, monkeypatch):
    versions = [
        RegisteredModelInfo(WELDING, number, None, (alias,), {"guardianflow.status": status})
        for number, alias, status in (
            (1, "champion", "champion"),
            (2, "candidate", "rolled_back"),
            (3, "candidate", "rejected"),
            (4, "rollback", "rolled_back"),
            (5, "candidate", ""),
        )
    ]
    registry = SimpleNamespace(list_versions=lambda _: versions)
    monkeypatch.setattr("guardianflow.cli.show.open_registry", lambda *_: registry)
    _, out, _ = run(capsys, monkeypatch, "models", WELDING)
    shown = re.findall(r"(@\w+(?: \(\w+\))?) ", out)
    assert shown == [
        "@champion",
        "@candidate (quarantined)",
        "@candidate (rejected)",
        "@rollback",
        "@candidate",
    ]
    _, out, _ = run(capsys, monkeypatch, "models", WELDING, "--json")
    assert json.loads(out)[1]["aliases"] == ["candidate"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run", "lifecycle always does"),
        ("promote", "without a terminal, nobody is asked"),
        ("rollback", "without a terminal, nobody is asked"),
    ],
)
def test_the_help_says_what_happens_without_being_asked_for(capsys, monkeypatch, command, said):
    monkeypatch.setenv("COLUMNS", "200")
    _, out, _ = run(capsys, monkeypatch, command, "--help")
    assert said in " ".join(out.split())


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("command", ["models", "pending"])
def test_a_dead_server_is_reported_within_ten_seconds(command, tmp_path):
    address = f"http://127.0.0.1:{_closed_port()}"
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": address,
        "PREFECT_API_URL": f"{address}/api",
        "GUARDIANFLOW_HOME": str(tmp_path),
    }
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "guardianflow.cli", command],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    # The promise is ten seconds; the imports of a busy machine come on top.
    assert time.monotonic() - began < 30
    assert done.returncode == 4
    assert "does not answer" in " ".join(done.stderr.split())
    assert address in done.stderr.replace("\n", "")


def test_interrupted_is_130(capsys, monkeypatch):
    def stop(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("guardianflow.cli.app.app", stop)
    code, _, err = run(capsys, monkeypatch, "models")
    assert code == 130
    assert "Interrupted" in err


def test_a_defect_is_1_and_shows_no_traceback(capsys, monkeypatch):
    def break_down(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("guardianflow.cli.app.app", break_down)
    code, _, err = run(capsys, monkeypatch, "models")
    assert code == 1
    assert "by nothing" in err
    assert "--debug" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left", "/data/x"), 4, "/data/x cannot be written: the di"),
        (OSError(errno.EFBIG, "File too large"), 4, "A file cannot be written: the file would be"),
        (PermissionError(errno.EACCES, "no", "/root/x"), 2, "/root/x cannot be used (Permission"),
        (FileNotFoundError(errno.ENOENT, "none", "/x"), 1, "a defect"),
    ],
)
def test_a_disk_that_takes_no_file_is_no_defect(capsys, monkeypatch, error, code, words):
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr("guardianflow.cli.app.app", fail)
    ended, _, err = run(capsys, monkeypatch, "models")
    assert ended == code
    assert words in err


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Flow run encountered an exception: GateFailed: The gate says no", 3),
        ("Flow run encountered an exception: ScenarioInvalid: no such key", 2),
        ("Flow run encountered an exception: RegistryUnavailable: gone", 4),
        ("Flow run encountered an exception: ZeroDivisionError: by nothing", 1),
        ("Flow run process exited with non-zero status code -9.", 1),
    ],
)
def test_a_submitted_run_fails_with_the_code_of_its_error(message, code):
    from guardianflow.cli.run import _failure
    from guardianflow.prefect_api.flowruns import FlowRunInfo

    run = FlowRunInfo("1", "run", "http://here", "Failed", message, True, False, False)
    error = _failure(run)
    assert error.exit_code == code
    assert "http://here" in error.remedy


def test_people_are_enrolled_listed_and_removed(capsys, monkeypatch, tmp_path):
    where = {"GUARDIANFLOW_APPROVERS": str(tmp_path / "approvers.json")}
    code, out, _ = run(capsys, monkeypatch, "approver", "add", "Kim Minji", environment=where)
    assert code == 0
    assert "otpauth://totp/guardianflow:Kim%20Minji?secret=" in out
    # The QR code is drawn in half blocks.
    assert "▀" in out
    secret = out.partition("secret=")[2].partition("&")[0]
    code, out, _ = run(capsys, monkeypatch, "approver", "list", environment=where)
    assert (code, out) == (0, "Kim Minji\n")
    assert secret not in out
    code, _, _ = run(capsys, monkeypatch, "approver", "remove", "kim minji", environment=where)
    assert code == 0
    code, out, _ = run(capsys, monkeypatch, "approver", "list", "--json", environment=where)
    assert json.loads(out)["approvers"] == []


def test_a_folder_with_one_ir_is_that_ir_and_with_none_or_two_is_asked_about(tmp_path):
    one, two, none = (tmp_path / name for name in ("one", "two", "none"))
    for folder, names in ((one, ["best.xml"]), (two, ["a.xml", "b.XML"]), (none, [])):
        folder.mkdir()
        for name in [*names, "metadata.yaml"]:
            (folder / name).touch()
    assert _only_one(None, one, "") == one / "best.xml"
    with pytest.raises(InputError, match=r"holds 2 \.xml files: a\.xml, b\.XML"):
        _only_one(None, two, "")
    with pytest.raises(InputError, match=r"holds no \.xml files"):
        _only_one(None, none, "")
    with pytest.raises(InputError, match=r"is a \.xml file") as refused:
        _only_one(one / "best.xml", None, "")
    assert "--ir" in refused.value.remedy
    assert _only_one(tmp_path / "BEST.ONNX", None, "") == tmp_path / "BEST.ONNX"


def test_the_version_is_said_to_people_and_programs(capsys, monkeypatch):
    assert run(capsys, monkeypatch, "--version") == (0, f"guardianflow {__version__}\n", "")
    code, out, _ = run(capsys, monkeypatch, "--version", "--json")
    assert (code, json.loads(out)) == (0, {"version": __version__})


def test_alone_without_servers_it_says_how_to_start_them(capsys, monkeypatch):
    code, out, err = run(capsys, monkeypatch)
    assert (code, err) == (0, "")
    assert "MLflow   not known" in out
    assert "next: `make up` in the checkout" in out
    assert "guardianflow --help" in out


def test_alone_with_servers_that_do_not_answer_it_ends_well_and_soon(capsys, monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        servers = {"MLFLOW_TRACKING_URI": address, "PREFECT_API_URL": f"{address}/api"}
        began = time.monotonic()
        code, out, err = run(capsys, monkeypatch, environment=servers)
        # The promise is two seconds; what a busy machine adds comes on top.
        assert time.monotonic() - began < 5
    assert (code, err) == (0, "")
    assert out.count("gives no quick answer") == 2
    assert "next: guardianflow status\n" in out


class Servers(BaseHTTPRequestHandler):
    """MLflow and Prefect, as far as they are asked for a quick answer."""

    models: ClassVar[dict[str, dict[str, int]]] = {}
    waiting: ClassVar[int] = 0
    logins: ClassVar[list[str | None]] = []

    def do_GET(self):
        registered = [
            {
                "name": name.replace("/", "."),
                "tags": [{"key": "guardianflow.name", "value": name}],
                "aliases": [{"alias": a, "version": str(v)} for a, v in aliases.items()],
            }
            for name, aliases in self.models.items()
        ]
        self._answer({"registered_models": [*registered, {"name": "somebody-else-s"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert asked["flow_runs"]["state"]["type"]["any_"] == ["PAUSED"]
        self._answer(self.waiting)

    def _answer(self, content):
        self.logins.append(self.headers["Authorization"])
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def servers(monkeypatch):
    """The addresses of servers without models, on which nothing waits."""
    monkeypatch.setattr(Servers, "models", {})
    monkeypatch.setattr(Servers, "waiting", 0)
    monkeypatch.setattr(Servers, "logins", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Servers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        yield {"MLFLOW_TRACKING_URI": address, "PREFECT_API_URL": f"{address}/api"}
        server.shutdown()


@pytest.mark.parametrize(
    ("models", "waiting", "command"),
    [
        ({}, 0, "guardianflow run donghwa-entec-ppe --type train --version v1"),
        ({WELDING: {"candidate": 1}}, 0, f"guardianflow promote {WELDING}"),
        ({WELDING: {"candidate": 1}}, 1, "guardianflow pending"),
        ({WELDING: {"champion": 1}}, 0, "guardianflow doctor"),
    ],
)
def test_alone_it_names_the_next_command(capsys, monkeypatch, servers, models, waiting, command):
    monkeypatch.setattr(Servers, "models", models)
    monkeypatch.setattr(Servers, "waiting", waiting)
    code, out, _ = run(capsys, monkeypatch, environment=servers)
    assert code == 0
    assert f"next: {command}\n" in out
    assert f"models   {len(models)}, " in out
    assert f"waiting  {waiting} " in out
    code, out, err = run(capsys, monkeypatch, "--json", environment=servers)
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["models"], told["waiting"], told["next"]) == (models, waiting, command)


def test_alone_it_gives_each_server_its_own_login(capsys, monkeypatch, servers):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "kim")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of-mlflow")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "lee:of-prefect")
    run(capsys, monkeypatch, environment=servers)
    said = {b64decode(login.removeprefix("Basic ")).decode() for login in Servers.logins}
    assert said == {"kim:of-mlflow", "lee:of-prefect"}


def completed(capsys, monkeypatch, *words, environment=None):
    typed = " ".join(("guardianflow", *words))
    asked = {
        "_GUARDIANFLOW_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words)),
    }
    code, out, err = run(capsys, monkeypatch, environment={**asked, **(environment or {})})
    assert (code, err) == (0, "")
    return out.split()


def test_the_shell_completes_commands_options_scenarios_and_models(capsys, monkeypatch, servers):
    assert completed(capsys, monkeypatch, "prom") == ["promote"]
    assert "--dry-run" in completed(capsys, monkeypatch, "promote", "--dr")
    assert completed(capsys, monkeypatch, "run", "dongh") == ["donghwa-entec-ppe"]
    assert completed(capsys, monkeypatch, "promote", "dongh") == []
    monkeypatch.setattr(Servers, "models", {WELDING: {}, "other/plant-1/zone/ppe": {}})
    where = {"environment": servers}
    assert completed(capsys, monkeypatch, "promote", "dongh", **where) == [WELDING]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_gets_a_script_for_completion(capsys, monkeypatch, shell):
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    code, out, _ = run(capsys, monkeypatch, "--show-completion")
    assert code == 0
    assert "_GUARDIANFLOW_COMPLETE" in out
    assert f"complete_{shell}" in out


def test_the_package_says_which_file_holds_which_command():
    rows = re.findall(r"^    (\w+) {2,}(.*)$", guardianflow.cli.__doc__ or "", re.MULTILINE)
    told = {name: file for file, names in rows for name in names.split(", ")}
    assert told.pop("guardianflow alone") == "start"
    assert told == COMMANDS
