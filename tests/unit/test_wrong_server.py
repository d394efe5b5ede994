"""Whatever answers where MLflow or Prefect should becomes one sentence and exit code 4."""

import json
import ssl

import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from prefect.settings import PREFECT_API_TLS_INSECURE_SKIP_VERIFY, temporary_settings
from starlette.applications import Starlette
from starlette.testclient import TestClient

from deployments.guard import Guard
from guardianflow.cli import main
from guardianflow.errors import (
    InputError,
    OrchestratorUnavailable,
    PermissionDenied,
    RegistryUnavailable,
    VersionNotReady,
)
from guardianflow.mlflow_store.client import border, connect
from guardianflow.prefect_api import client as client_module
from guardianflow.prefect_api.control import Orchestrator
from tests.strangers import PAGE, answering, own_certificate

GATEWAYS = [
    (200, PAGE, "a web page 'Sign in & go'"),
    (200, {"status": "ok"}, '"status": "ok"'),
    (401, {"message": "no token"}, "no token"),
    (403, {"error": "forbidden"}, "forbidden"),
    (404, {"detail": "Not Found"}, "Not Found"),
    (404, PAGE, "Sign in"),
    (403, PAGE, "Sign in"),
    (405, {"detail": "Method Not Allowed"}, "Method Not Allowed"),
]


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path))
    for key in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "MLFLOW_WORKSPACE"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def run(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--json"])
    return stopped.value.code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("status", "content", "said"), GATEWAYS)
def test_what_is_not_mlflow_is_told_by_the_command(capsys, monkeypatch, status, content, said):
    with answering(status, content) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{address}/plant")
        code, answer = run(capsys, "models")
    error = answer["error"]
    assert code == 4
    assert error["message"].startswith("Something else than MLflow answers at http://127.0.0.1")
    assert f"HTTP {status}" in error["message"]
    assert "/plant/api/2.0" in error["message"]
    assert said in error["message"]
    assert "MLFLOW_TRACKING_URI" in error["remedy"]
    assert ("login" in error["remedy"]) is (status in (401, 403))


# Of JSON with 200 MLflow's client takes what it knows: that is seen at the first contact.
@pytest.mark.parametrize(
    ("status", "content", "said"), [one for one in GATEWAYS if one[:2] != (200, {"status": "ok"})]
)
def test_a_gateway_that_lets_the_version_through_is_told_by_any_call(status, content, said):
    with answering(status, content, first="3.17.2") as address:
        client = connect(address)
        with (
            pytest.raises(RegistryUnavailable, match="Something else than MLflow") as told,
            border("models"),
        ):
            client.search_registered_models()
    assert told.value.data["status"] == status
    assert said in told.value.message


def test_the_answers_of_mlflow_itself_stay_what_they_are():
    missing = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such model"}
    refused = {"error_code": "PERMISSION_DENIED", "message": "no"}
    for status, content, kind in (
        (404, missing, VersionNotReady),
        (403, refused, PermissionDenied),
        # Its basic-auth speaks in plain words, sent as HTML.
        (403, "Permission denied", PermissionDenied),
        (401, "You are not authenticated.", PermissionDenied),
    ):
        with answering(status, content, first="3.17.2") as address:
            client = connect(address)
            with pytest.raises(kind), border("models"):
                client.search_registered_models()


def test_a_refusal_of_mlflow_is_told_in_its_words():
    # The second is a real MLflow's, to an address that --allowed-hosts does not name.
    host = "Invalid Host header - possible DNS rebinding attack detected"
    for said in ("Permission denied", host, ""):
        with answering(403, said, first="3.17.2") as address:
            client = connect(address)
            with pytest.raises(PermissionDenied) as told, border("models"):
                client.search_registered_models()
        words = f"models: MLflow does not allow that: {said or 'no reason given'}."
        assert told.value.message == words


def test_a_guard_that_knows_its_server_by_another_name_says_so():
    refusal = TestClient(Guard(Starlette()), base_url="http://prefect.plant").get("/").json()
    with answering(403, refusal) as address:
        for ask in (Orchestrator(f"{address}/api").check, lambda: connect(address)):
            with pytest.raises(PermissionDenied) as told:
                ask()
            assert "another name; GUARDIANFLOW_ALLOWED_HOSTS can add one" in told.value.message
            assert "password" not in told.value.message


def test_what_a_server_says_of_a_refusal_is_one_short_line():
    refusal = {"detail": "not\x1b[2J for\n you" + "!" * 1000}
    with answering(403, refusal) as address, pytest.raises(PermissionDenied) as told:
        Orchestrator(f"{address}/api").check()
    assert "not [2J for you!!" in told.value.message
    assert len(told.value.message) < 250


def test_a_server_that_cannot_write_is_told_by_its_status_and_not_by_its_address(monkeypatch):
    """What a real MLflow says of a full disk; the client gives up after some tries."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    full = {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "database or disk is full"}
    with answering(503, full, first="3.17.2") as address:
        client = connect(address)
        with pytest.raises(RegistryUnavailable) as told, border("write op.000003"):
            client.search_registered_models()
    said = "write op.000003: MLflow answers with errors (too many 503 error responses)."
    assert told.value.message == said
    assert "its disk is full" in told.value.remedy


def test_a_store_that_cannot_be_written_is_told_with_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    (tmp_path / "report.json").write_text("{}")
    failed = {"error_code": "INTERNAL_ERROR", "message": "Read-only file system"}
    with answering(500, failed, first="3.17.2") as address:
        store = f"mlflow-artifacts://{address.removeprefix('http://')}/1/artifacts"
        with pytest.raises(RegistryUnavailable) as told, border("keep the report"):
            get_artifact_repository(store, tracking_uri=address).log_artifact(
                str(tmp_path / "report.json")
            )
    said = "MLflow did not accept or send the file report.json (too many 500 error responses)."
    assert told.value.message == f"keep the report: {said}"


PPE = "donghwa-entec/busan-plant1/welding/ppe"


@pytest.mark.parametrize(
    ("words", "server", "variable"),
    [
        (["models"], "MLflow", "MLFLOW_TRACKING_URI"),
        (["promote", PPE, "--dry-run"], "MLflow", "MLFLOW_TRACKING_URI"),
        (["rollback", PPE], "MLflow", "MLFLOW_TRACKING_URI"),
        (["promote", PPE, "--request"], "Prefect", "PREFECT_API_URL"),
        (["pending"], "Prefect", "PREFECT_API_URL"),
        (["approve", "--approver", "Kim", "--reason", "better"], "Prefect", "PREFECT_API_URL"),
    ],
)
def test_a_server_that_is_away_is_one_plain_sentence(capsys, monkeypatch, words, server, variable):
    with answering(200, "") as address:
        pass
    address += "/api" if server == "Prefect" else ""
    monkeypatch.setenv(variable, address)
    code, answer = run(capsys, *words)
    assert code == 4
    said = f"The {server} server {address} does not answer (Connection refused)."
    assert answer["error"]["message"] == said
    remedy = f"Run `make up`, or set {variable} to a server that runs."
    assert answer["error"]["remedy"] == remedy


def test_a_server_that_goes_away_meanwhile_is_named_with_what_was_asked():
    with answering(200, {}, first="3.17.2") as address:
        client = connect(address)
    with pytest.raises(RegistryUnavailable) as told, border("list models"):
        client.search_registered_models()
    said = f"list models: the MLflow server {address} does not answer (Connection refused)."
    assert told.value.message == said


def test_a_server_that_answers_with_errors_is_not_called_away():
    busy = {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "database is locked"}
    with (
        answering(503, busy) as address,
        pytest.raises(RegistryUnavailable, match=r"answers with errors \(.*database is locked\)"),
    ):
        connect(address)
    with (
        answering(500, {"exception_message": "database is locked"}) as address,
        pytest.raises(OrchestratorUnavailable, match=r"/api answers with errors \(500\)"),
    ):
        Orchestrator(f"{address}/api").check()


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Workspace 'a' not found"}),
        (500, {"error_code": "FEATURE_DISABLED", "message": "workspaces are not enabled"}),
    ],
)
def test_a_workspace_that_the_server_does_not_have_is_named(capsys, monkeypatch, status, answer):
    """What a real MLflow 3.17 answers with and without --enable-workspaces."""
    with answering(status, answer) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_WORKSPACE", "plant-a")
        code, said = run(capsys, "models")
    assert code == 2
    assert "refuses the workspace 'plant-a'" in said["error"]["message"]
    assert answer["message"] in said["error"]["message"]
    assert "MLFLOW_WORKSPACE" in said["error"]["remedy"]


def test_a_certificate_of_an_own_ca_is_named_and_can_be_trusted(tmp_path, monkeypatch):
    file = own_certificate(tmp_path)
    with answering(200, "3.17.2", certificate=file) as address:
        with pytest.raises(RegistryUnavailable, match="certificate is not trusted") as told:
            connect(address)
        assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in told.value.remedy
        assert "make up" not in told.value.remedy
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(file))
        connect(address)
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "gone.pem"))
        with pytest.raises(InputError, match=r"gone\.pem, which does not exist"):
            connect(address)


@pytest.mark.parametrize(("status", "content", "said"), GATEWAYS)
def test_what_is_not_prefect_is_told_by_the_command(capsys, monkeypatch, status, content, said):
    with answering(status, content) as address:
        monkeypatch.setenv("PREFECT_API_URL", f"{address}/api")
        if status in (401, 403) and isinstance(content, dict):
            # As Prefect itself says that the password is wrong, or that a login may not do it.
            with pytest.raises(PermissionDenied) as told:
                Orchestrator(f"{address}/api").check()
            assert ("refuses the password" if status == 401 else said) in told.value.message
            return
        code, answer = run(capsys, "pending")
    error = answer["error"]
    assert code == 4
    assert error["message"].startswith("Something else than a Prefect API answers at http://127")
    assert "PREFECT_API_URL" in error["remedy"]
    if status != 200 or content == PAGE:
        assert f"HTTP {status}" in error["message"]
        assert said in error["message"]


@pytest.mark.parametrize("path", ["", "/prefect", "/api-gateway/prefect/"])
def test_an_address_of_prefect_without_api_says_how_it_ends(path):
    with (
        answering(405, {"detail": "Method Not Allowed"}) as address,
        pytest.raises(OrchestratorUnavailable) as told,
    ):
        Orchestrator(f"{address}{path}").check()
    # What stands behind the address may also be a page of the UI.
    root = f" or {address}/api" if path else ""
    assert told.value.remedy.endswith(f"try {address}{path.rstrip('/')}/api{root}.")


@pytest.mark.parametrize("status", [401, 403, 407])
def test_a_gateway_before_prefect_that_wants_a_login_says_so_whatever_the_address(status):
    with answering(status, PAGE) as address, pytest.raises(OrchestratorUnavailable) as told:
        Orchestrator(f"{address}/prefect").check()
    assert "give it the login" in told.value.remedy


def test_prefects_certificate_of_an_own_ca_is_named(tmp_path):
    from prefect.settings import PREFECT_API_SSL_CERT_FILE, temporary_settings

    file = own_certificate(tmp_path)
    with answering(200, {}, certificate=file) as address:
        with pytest.raises(OrchestratorUnavailable, match="is not trusted") as told:
            Orchestrator(f"{address}/api").check()
        assert "PREFECT_API_SSL_CERT_FILE" in told.value.remedy
        with (
            temporary_settings({PREFECT_API_SSL_CERT_FILE: str(tmp_path / "gone.pem")}),
            pytest.raises(InputError, match=r"gone\.pem, which does not exist"),
        ):
            Orchestrator(f"{address}/api").check()


def test_certificates_are_read_once_for_all_clients_of_prefect(monkeypatch):
    client_module._trusting.cache_clear()
    made, create = [], ssl.create_default_context

    def counted(**how):
        made.append(how)
        return create(**how)

    monkeypatch.setattr(ssl, "create_default_context", counted)
    for _ in range(3):
        with client_module.open_client("http://127.0.0.1:9/api"):
            pass
    assert len(made) == 1
    # Who switches the check off, or names an own CA, is not held to what was read before.
    with temporary_settings({PREFECT_API_TLS_INSECURE_SKIP_VERIFY: True}):
        assert client_module._trust() == {}
