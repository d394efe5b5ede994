"""The embedded servers, asked by somebody who is not to get in: raw, and by pages in a browser."""

import base64
import json
import threading
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from deployments.processes import marked
from guardianflow.machine.servers import KEY_FILE, Keys
from testbed.browser import CHROMIUM, open_browser

EVIL = "http://evil.example"
browser = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")


@pytest.fixture
def servers(embedded):
    return embedded[1]


@pytest.fixture
def keys(embedded):
    return Keys.read(embedded[0] / "up")


@pytest.fixture
def deployment(prefect):
    """A deployment that a page wants to change; its id."""
    flow = prefect.create_flow_from_name("target")
    return str(prefect.create_deployment(flow, f"target-{uuid.uuid4().hex[:8]}"))


def test_nothing_is_told_without_the_key(servers, keys):
    for login in (None, ("guardianflow", "wrong"), ("guardianflow", keys.mlflow)):
        for path in ("/admin/version", "/admin/settings", "/deployments/x", "/csrf-token"):
            assert httpx.get(servers.prefect + path, auth=login).status_code == 401
        assert httpx.post(f"{servers.prefect}/flows/filter", json={}, auth=login).status_code == 401
    for login in (None, ("guardianflow", "wrong"), ("guardianflow", keys.prefect)):
        for path in ("/", "/ajax-api/2.0/mlflow/experiments/get?experiment_id=0", "/graphql"):
            assert httpx.get(servers.mlflow + path, auth=login).status_code == 401
        # It can start programs of this machine.
        assistant = f"{servers.mlflow}/ajax-api/3.0/mlflow/assistant/message"
        assert httpx.post(assistant, json={}, auth=login).status_code == 401


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": EVIL}, {"Origin": "null"}]
)
def test_even_with_the_key_nobody_elses_page_is_answered(servers, keys, headers):
    asked = httpx.get(
        f"{servers.prefect}/admin/version", headers=headers, auth=("guardianflow", keys.prefect)
    )
    assert asked.status_code == 403
    asked = httpx.get(servers.mlflow, headers=headers, auth=("guardianflow", keys.mlflow))
    assert asked.status_code == 403
    for answer in (asked, httpx.get(f"{servers.prefect}/health")):
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_needs_no_leave_of_a_browser_is_no_request(servers, keys, prefect, deployment, kind):
    asked = httpx.post(
        f"{servers.prefect}/deployments/{deployment}/create_flow_run",
        content=b"{}",
        headers={"Content-Type": kind} if kind else {},
        auth=("guardianflow", keys.prefect),
    )
    assert asked.status_code == 415


def test_a_template_does_not_stop_the_server(servers, keys, deployment):
    endless = {"__prefect_kind": "jinja", "template": "{{ 9**(9**9) > 1 }}"}
    asked = httpx.post(
        f"{servers.prefect}/deployments/{deployment}/create_flow_run",
        json={"parameters": {"reason": [endless]}},
        auth=("guardianflow", keys.prefect),
    )
    assert asked.status_code == 422
    assert httpx.get(f"{servers.prefect}/health", timeout=30).json() is True


@pytest.mark.parametrize("path", ["/events/in", "/events/out", "/logs/out"])
def test_websockets_ask_for_the_key_and_know_their_pages(servers, keys, path):
    address = servers.prefect.replace("http://", "ws://") + path
    for origin in (EVIL, "http://127.0.0.1:1"):
        with pytest.raises(InvalidStatus):
            connect(address, origin=origin, subprotocols=["prefect"])
    for token in (None, "guardianflow:wrong", keys.prefect_login):
        with connect(address, subprotocols=["prefect"]) as socket:
            socket.send(json.dumps({"type": "auth", "token": token}))
            if token == keys.prefect_login:
                assert json.loads(socket.recv(timeout=30))["type"] == "auth_success"
            else:
                with pytest.raises(ConnectionClosed):
                    socket.recv(timeout=30)
    # In the way of old clients, without a word about a key.
    with pytest.raises((InvalidStatus, ConnectionClosed)), connect(address) as socket:
        socket.recv(timeout=30)


PAGE = """<!doctype html><title>a page</title><iframe name=hidden></iframe><script>
async function attack(api, mlflow, deployment, key) {
    const change = JSON.stringify({job_variables: {command: "sh -c id"}, paused: true});
    const auth = key ? {Authorization: "Basic " + btoa(key)} : {};
    const target = api + "/deployments/" + deployment;
    const tries = [];
    for (const [method, address, headers] of [
        ["PATCH", target, {"Content-Type": "application/json"}],
        ["PATCH", target, {"Content-Type": "application/json", ...auth}],
        ["POST", target + "/create_flow_run", {"Content-Type": "text/plain"}],
        ["POST", target + "/create_flow_run", {}],
        ["POST", target + "/pause_deployment", {}],
        ["POST", target + "/pause_deployment", auth],
        ["POST", mlflow + "/api/2.0/mlflow/experiments/create", {"Content-Type": "text/plain"}],
    ]) for (const mode of ["cors", "no-cors"]) {
        const body = method == "PATCH" ? change : '{"name": "from a page"}';
        const options = {method, mode, headers, body, credentials: "include"};
        try { tries.push((await fetch(address, options)).status); } catch (e) { tries.push("no"); }
    }
    for (const kind of ["text/plain", "application/x-www-form-urlencoded"]) {
        const form = document.createElement("form");
        Object.assign(form, {method: "POST", target: "hidden", enctype: kind});
        form.action = target + "/create_flow_run";
        form.innerHTML = `<input name='{"name": "a page", "x": "' value='"}'>`;
        document.body.append(form);
        form.submit();
        await new Promise(done => setTimeout(done, 500));
    }
    tries.push(await new Promise(done => {
        const socket = new WebSocket(api.replace("http", "ws") + "/events/in", "prefect");
        socket.onopen = () => done("open");
        socket.onerror = () => done("no");
    }));
    for (const address of [api + "/health", mlflow + "/health"])
        try { tries.push((await fetch(address)).status); } catch (e) { tries.push("no"); }
    return tries;
}
</script>"""


@contextmanager
def attacker():
    """A server with the page; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.browser
@browser
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost"])
def test_a_page_that_is_merely_visited_changes_nothing(servers, keys, prefect, deployment, host):
    login = ("guardianflow", keys.mlflow)
    # The person has signed in at both; the page even knows the key, which it cannot.
    with attacker() as port, open_browser(servers=servers, login=login) as page:
        page.goto(servers.mlflow)
        page.goto(f"http://{host}:{port}")
        tries = page.evaluate(
            "([...all]) => attack(...all)",
            [servers.prefect, servers.mlflow, deployment, keys.prefect_login],
        )
    # 0 is what a page learns of an answer that it may not read.
    assert set(tries) <= {"no", 0}, tries
    found = prefect.read_deployment(uuid.UUID(deployment))
    assert found.job_variables == {}
    assert found.paused is False
    assert prefect.read_flow_runs(limit=200) == [
        run for run in prefect.read_flow_runs(limit=200) if str(run.deployment_id) != deployment
    ]
    experiments = httpx.get(
        f"{servers.mlflow}/api/2.0/mlflow/experiments/search?max_results=100", auth=login
    ).text
    assert "from a page" not in experiments


@pytest.mark.browser
@browser
def test_a_name_of_somebody_else_that_leads_here_is_refused(servers, keys, deployment):
    with open_browser(login=("guardianflow", keys.mlflow)) as page:
        for address in (servers.prefect, servers.mlflow):
            port = urlsplit(address).port
            answer = page.goto(f"{EVIL}:{port}/")
            assert answer.status == 403
            read = page.evaluate("async (path) => (await fetch(path)).status", "/api/admin/version")
            assert read == 403


@pytest.mark.browser
@browser
def test_a_person_signs_in_once_and_comes_to_the_page_of_the_link(servers, keys, deployment):
    ui = servers.prefect.removesuffix("/api")
    with open_browser() as page:
        page.goto(f"{ui}/deployments/deployment/{deployment}")
        page.locator("input[type=password], input").first.fill(keys.prefect_login)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/deployments/deployment/{deployment}**")
        expect(page.get_by_text("target-").first).to_be_visible()


def test_the_key_is_in_its_file_and_nowhere_else(embedded, plant, keys):
    """After what the tests before did: neither in logs, databases and files, nor in `ps`."""
    state = embedded[0] / "up"
    # A flow run on the machine, whose logs go to the server; it finds no candidate.
    started = plant.orchestrator.submit("promote/guardianflow", {"model_name": plant.name})
    plant.orchestrator.follow(started.id, lambda _: None)
    secrets = [keys.prefect, keys.mlflow]
    secrets += [base64.b64encode(f"guardianflow:{one}".encode()).decode() for one in secrets]
    for process in marked(state):
        line = " ".join(process.cmdline())
        assert not [one for one in secrets if one in line], process.name()
    holding = {
        str(path.relative_to(state))
        for path in state.rglob("*")
        if path.is_file() and any(one.encode() in path.read_bytes() for one in secrets)
    }
    assert holding == {KEY_FILE}
    assert {path.stat().st_mode & 0o077 for path in (state, state / KEY_FILE)} == {0}
