"""The nginx configuration for approvers, before a real Prefect server with a password."""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

from deployments.processes import free_port
from guardianflow.cli import main
from guardianflow.errors import NothingWaiting, PermissionDenied
from guardianflow.prefect_api.control import Orchestrator
from testbed.browser import CHROMIUM, fill_approval, open_approval, open_browser, submit_approval
from testbed.servers import forwarding_to, prefect_server_on, restore_sigint, stop
from tests.e2e.waiting import wait_for_an_answer

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
OPENSSL = shutil.which("openssl")
CONFIGURATION = Path(__file__).parents[2] / "deployments" / "approver-proxy.conf"
PASSWORD = "admin:prefects-own"
KIM = ("kim", "kims-own")

pytestmark = pytest.mark.skipif(
    NGINX is None or OPENSSL is None, reason="Debian's nginx and openssl are not installed"
)


@pytest.fixture(scope="module")
def prefect(tmp_path_factory):
    """A Prefect server with a password; its address."""
    settings = {"PREFECT_SERVER_API_AUTH_STRING": PASSWORD, "PREFECT_UI_API_URL": "/api"}
    with prefect_server_on(tmp_path_factory.mktemp("prefect"), settings) as address:
        yield address


@pytest.fixture(scope="module")
def guarded(prefect, tmp_path_factory):
    """The guard before it; its address."""
    with forwarding_to(prefect, tmp_path_factory.mktemp("guard")) as address:
        yield address


@pytest.fixture(scope="module")
def proxy(guarded, tmp_path_factory):
    """The configuration as it is shipped, with this test's addresses, password and logins."""
    folder = tmp_path_factory.mktemp("nginx")
    port = free_port()
    hashed = subprocess.run(
        [OPENSSL, "passwd", "-apr1", KIM[1]], capture_output=True, text=True, check=True
    ).stdout.strip()
    (folder / "logins").write_text(f"{KIM[0]}:{hashed}\n")
    secret = base64.b64encode(PASSWORD.encode()).decode()
    text = CONFIGURATION.read_text()
    for old, new in {
        "server 127.0.0.1:4201;": f"server {guarded.removeprefix('http://')};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port};",
        "ssl_certificate /etc/nginx/guardianflow.crt;": "",
        "ssl_certificate_key /etc/nginx/guardianflow.key;": "",
        "/etc/nginx/guardianflow.htpasswd": str(folder / "logins"),
        "/var/log/nginx/guardianflow-approvals.log": str(folder / "answers.log"),
        '"Basic CHANGE"': f'"Basic {secret}"',
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    folders = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"{'user root;' if os.getuid() == 0 else ''}\n"
        f"events {{}}\nhttp {{\n{folders}{text}\n}}\n"
    )
    server = subprocess.Popen(
        [NGINX, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")],
        start_new_session=True,
        preexec_fn=restore_sigint,
    )
    try:
        # Answers without a login with 401, so the socket is asked and not a page.
        for _ in range(200):
            try:
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            except httpx.TransportError:
                assert server.poll() is None, (folder / "error.log").read_text()
        yield f"http://127.0.0.1:{port}", folder / "answers.log"
    finally:
        stop(server)


@pytest.fixture
def waiting(prefect):
    """A promotion that waits, as the flow leaves it."""
    with SyncPrefectClient(f"{prefect}/api", auth_string=PASSWORD) as client:
        return wait_for_an_answer(client)


@pytest.fixture
def kim(proxy):
    with httpx.Client(base_url=proxy[0], auth=KIM) as client:
        yield client


def test_without_a_personal_login_nothing_is_shown(proxy):
    for auth in (None, ("kim", "wrong"), tuple(PASSWORD.split(":"))):
        for path in ("/", "/api/health", "/ui-settings"):
            assert httpx.get(proxy[0] + path, auth=auth).status_code == 401


def test_an_approver_sees_what_waits_answers_it_and_is_in_the_log(proxy, kim, waiting):
    run, keys = waiting
    with temporary_settings({PREFECT_API_AUTH_STRING: ":".join(KIM)}):
        orchestrator = Orchestrator(f"{proxy[0]}/api")
        orchestrator.check()
        assert run in {one.flow_run_id for one in orchestrator.pending()}
        assert kim.get(f"/api/flow_runs/{run}/input/{keys['description']}").text == '"the evidence"'
        assert kim.get(f"/api/flow_runs/{run}/input/{keys['schema']}").status_code == 200
        orchestrator.answer(run, "approve", "Kim", "saw the pictures", "123456")
        with pytest.raises(NothingWaiting):
            orchestrator.answer(run, "approve", "Kim", "again")
    # What was answered, with its code, is nobody's to read.
    assert kim.get(f"/api/flow_runs/{run}/input/{keys['response']}").status_code == 403
    log = proxy[1].read_text()
    assert re.search(rf' kim 127\.0\.0\.1 "POST /api/flow_runs/{run}/resume HTTP/1\.1" 200', log)
    assert "123456" not in log


def test_the_commands_of_an_approver_ask_nothing_that_is_refused(
    proxy, prefect, waiting, monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", f"{proxy[0]}/api")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    told = proxy[1].read_text().count("\n")
    with SyncPrefectClient(f"{prefect}/api", auth_string=PASSWORD) as client:
        second, _ = wait_for_an_answer(client)
    kim = ("--approver", "Kim", "--reason", "saw the pictures")

    def command(*words):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0, capsys.readouterr()
        return capsys.readouterr().out

    with temporary_settings({PREFECT_API_AUTH_STRING: ":".join(KIM)}):
        assert waiting[0] in command("pending")
        assert {waiting[0], second} <= {w["id"] for w in json.loads(command("pending", "--json"))}
        assert "answered approve" in command("approve", waiting[0], *kim)
        assert json.loads(command("reject", second, *kim, "--json"))["decision"] == "reject"
        # This one says also what nobody can answer now.
        command("pending")
        assert command("status", "--json")
    # Prefect itself says by 422 that it wants no such token.
    asked = [x for x in proxy[1].read_text().splitlines()[told:] if "/api/csrf-token?" not in x]
    assert [line for line in asked if int(line.rpartition(" ")[2]) >= 400] == []
    assert sum("/resume " in line for line in asked) == 2


def test_an_approver_is_told_of_a_question_whose_deployment_was_deleted(proxy, prefect, waiting):
    run = uuid.UUID(waiting[0])
    with SyncPrefectClient(f"{prefect}/api", auth_string=PASSWORD) as client:
        client.delete_deployment(client.read_flow_run(run).deployment_id)
        with (
            temporary_settings({PREFECT_API_AUTH_STRING: ":".join(KIM)}),
            pytest.raises(NothingWaiting, match="deployment was deleted"),
        ):
            Orchestrator(f"{proxy[0]}/api").answer(waiting[0], "approve", "Kim", "because")
        assert client.read_flow_run(run).state.is_paused()


def test_an_approver_gets_pages_and_no_question_for_the_servers_password(kim):
    assert "<html" in kim.get("/").text
    settings = kim.get("/ui-settings").json()
    assert settings["auth"] is None
    assert settings["api_url"] == "/api"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
def test_an_approver_answers_in_the_ui_with_a_personal_login(proxy, prefect, waiting):
    run, _ = waiting
    with SyncPrefectClient(f"{prefect}/api", auth_string=PASSWORD) as client:
        deployment = client.read_flow_run(uuid.UUID(run)).deployment_id
    refused = []
    with open_browser(login=KIM) as page:
        page.on("response", lambda r: refused.append(r.url) if r.status == 403 else None)
        open_approval(page, f"{proxy[0]}/runs/flow-run/{run}")
        expect(page.locator(".p-modal")).to_contain_text("the evidence")
        fill_approval(page, "approve", "Kim Minji", "fewer missed masks")
        submit_approval(page)
        with SyncPrefectClient(f"{prefect}/api", auth_string=PASSWORD) as client:
            assert not client.read_flow_run(uuid.UUID(run)).state.is_paused()
    # The UI asks for these, too, and does without them.
    assert {httpx.URL(url).path for url in refused} <= {
        "/api/admin/settings",
        f"/api/deployments/{deployment}",
        "/api/events/filter",
        "/api/events/count-by/time",
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/block_documents/filter"),
        ("GET", "/api/block_documents/{run}?include_secrets=true"),
        ("GET", "/api/block_types/slug/mlflow-credentials/block_documents"),
        ("POST", "/api/variables/filter"),
        ("POST", "/api/flow_runs/"),
        ("POST", "/api/flow_runs"),
        ("POST", "/api/deployments/{run}/create_flow_run"),
        ("PATCH", "/api/deployments/{run}"),
        ("PATCH", "/api/flow_runs/{run}"),
        ("DELETE", "/api/flow_runs/{run}"),
        ("POST", "/api/flow_runs/{run}/set_state"),
        ("POST", "/api/flow_runs/{run}/input"),
        ("POST", "/api/flow_runs/{run}/input/filter"),
        ("POST", "/api/flow_runs/bulk_delete"),
        ("GET", "/api/flow_runs/{run}/resume"),
        ("POST", "/api/flow_runs/{run}/resume/../set_state"),
        ("POST", "/api/flow_runs/{run}%2Fset_state"),
        ("POST", "//api/flow_runs/{run}/set_state"),
        ("POST", "/API/flow_runs/{run}/set_state"),
        ("POST", "/api/events"),
        ("POST", "/api/events/filter"),
        ("POST", "/api/artifacts/"),
        ("POST", "/api/work_pools/filter"),
        ("POST", "/api/automations/filter"),
        ("POST", "/api/admin/database/clear"),
        ("GET", "/api/admin/settings"),
        ("GET", "/docs/../api/admin/settings"),
        ("GET", "/api/variables/name/ui-settings"),
        ("GET", "/api/block_types/slug/ui-settings"),
        ("POST", "/"),
    ],
)
def test_an_approver_can_do_nothing_else(kim, waiting, prefect, method, path):
    answer = kim.request(method, path.replace("{run}", waiting[0]), json={"limit": 1})
    assert answer.status_code in (400, 403, 404, 405), (answer.status_code, answer.text[:200])
    assert "nginx" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/api/block_types/%2e%2e/../slug/mlflow-credentials/block_documents?include_secrets=true",
        "/x/../api/block_documents/",
        "/x%2f..%2fapi/block_documents/",
        "/x/%2E%2e/api/block_documents/",
        "/x//../api/variables/",
        "/x%5c..%5capi/variables/",
    ],
)
def test_a_path_that_two_servers_may_read_differently_is_refused(proxy, path):
    # By hand: clients tidy paths up before they send them.
    login = base64.b64encode(":".join(KIM).encode()).decode()
    head = f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Basic {login}\r\n\r\n"
    address = urlsplit(proxy[0])
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"nginx" in answer


TEMPLATE = {"__prefect_kind": "jinja", "template": "{{ 9**(9**9) > 1 }}"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json"}, 201),
        ({}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "application/json", "Origin": "http://evil.example"}, 403),
        ({"Content-Type": "application/json", "Origin": "null"}, 403),
    ],
)
def test_a_page_of_somebody_else_answers_nothing_with_an_approvers_login(
    kim, prefect, headers, status
):
    with SyncPrefectClient(f"{prefect}/api", auth_string=PASSWORD) as client:
        run, _ = wait_for_an_answer(client)
        answer = {"decision": "approve", "approver": "Kim", "reason": "not Kim"}
        body = json.dumps({"run_input": answer}).encode()
        asked = kim.post(f"/api/flow_runs/{run}/resume", content=body, headers=headers)
        assert asked.status_code == status, asked.text
        assert client.read_flow_run(uuid.UUID(run)).state.is_paused() is (status != 201)


def test_links_lead_through_the_proxy_from_anywhere(kim):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert kim.get("/", headers={**headers, "Sec-Fetch-Dest": "iframe"}).status_code == 403
    headers["Sec-Fetch-Dest"] = "document"
    assert kim.get("/", headers=headers, follow_redirects=True).status_code == 200


def test_an_approver_cannot_let_the_server_work_without_end(kim, waiting):
    body = {"run_input": {"decision": "approve", "approver": "Kim", "reason": TEMPLATE}}
    asked = kim.post(f"/api/flow_runs/{waiting[0]}/resume", json=body)
    assert asked.status_code == 422
    # A schema of Kim's own is compared with nothing; nobody without a login is told so, either.
    pattern = {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    endless = {"schema": pattern, "values": {"a": "a" * 40 + "!"}}
    for values in (endless, {"schema": {}, "values": TEMPLATE}):
        validated = kim.post("/api/ui/schemas/validate", json=values, timeout=30)
        assert validated.json() == {"errors": [], "valid": True}
    assert kim.get("/api/ui/schemas/validate").status_code == 403
    assert kim.post("/api/ui/schemas/validate", json=endless, auth=None).status_code == 401
    # It answers still.
    assert kim.get("/api/health", timeout=30).json() is True


def test_no_login_of_an_approver_reaches_the_server(proxy, guarded, kim):
    """Also where a location changes what is sent: the server would see Kim's, and refuse it."""
    assert kim.get("/ui-settings").status_code == 200
    text = CONFIGURATION.read_text()
    server, _, _ = text.partition("\n    location ")
    assert text.count("proxy_set_header") == server.count("proxy_set_header") > 0


def test_the_server_itself_wants_its_password(prefect):
    with (
        temporary_settings({PREFECT_API_AUTH_STRING: ":".join(KIM)}),
        pytest.raises(PermissionDenied),
    ):
        Orchestrator(f"{prefect}/api").check()
