"""What is let through to a server, and what is refused before it."""

import asyncio
import base64
import json
from urllib.parse import unquote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from deployments import forwarding, guard, mlflow_server, prefect_server
from deployments.guard import Guard, PlainJson

ME = "http://127.0.0.1:4200"


async def echo(request: Request) -> JSONResponse:
    return JSONResponse((await request.body()).decode("utf-8", "replace"))


async def echo_messages(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


def app():
    every = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    return Starlette(
        routes=[
            WebSocketRoute("/api/events/in", echo_messages),
            Route("/{path:path}", echo, methods=every),
        ]
    )


def ask(served, method="GET", path="/", host="127.0.0.1:4200", **more) -> httpx.Response:
    async def request():
        transport = httpx.ASGITransport(served)
        async with httpx.AsyncClient(transport=transport, base_url=ME) as client:
            headers = {"host": host, **more.pop("headers", {})}
            return await client.request(method, path, headers=headers, **more)

    return asyncio.run(request())


@pytest.mark.parametrize(
    "host", ["127.0.0.1:4200", "localhost:4200", "LOCALHOST:8080", "[::1]:4200", "prefect.plant"]
)
def test_a_server_is_asked_by_its_names(host):
    assert ask(Guard(app(), hosts=["prefect.plant"]), host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4200",
        "127.0.0.1.evil.example",
        "10.evil.example",
        "localhost.evil.example:4200",
        "evil@127.0.0.1",
        "127.0.0.1/evil.example",
        "127.0.0.1:4200:",
        "",
        "[::1",
        "prefect-in-memory",
        "prefect.plant.evil.example",
    ],
)
def test_a_name_that_leads_here_by_a_trick_is_refused(host):
    refused = ask(Guard(app(), hosts=["prefect.plant"]), host=host)
    assert refused.status_code == 403
    assert guard.HOSTS in refused.json()["detail"]


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1.evil.example:4200",
        "http://127.0.0.1:9999",
        "http://localhost:4200",
        "null",
        "file://",
        "http://[::1",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_pages_of_other_servers_get_nothing(origin, method):
    assert ask(Guard(app()), method, headers={"origin": origin}).status_code == 403


def test_own_pages_and_those_of_a_proxy_are_served():
    served = Guard(app(), hosts=["prefect.plant:8443"])
    assert ask(served, "POST", headers={"origin": ME}).status_code == 200
    for host in ("prefect.plant:8443", "127.0.0.1:4200"):
        asked = ask(served, "POST", host=host, headers={"origin": "https://prefect.plant:8443"})
        assert asked.status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    ("method", "kind", "mode", "status"),
    [
        ("GET", "document", "navigate", 200),  # a link in a message
        ("GET", "image", "no-cors", 200),  # a picture in a page of Prefect's
        ("POST", "document", "navigate", 403),  # a form
        ("GET", "iframe", "navigate", 403),
        ("GET", "script", "no-cors", 403),
        ("GET", "empty", "no-cors", 403),
    ],
)
def test_from_elsewhere_come_links_and_pictures_alone(site, method, kind, mode, status):
    headers = {"sec-fetch-site": site, "sec-fetch-dest": kind, "sec-fetch-mode": mode}
    assert ask(Guard(app()), method, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("headers", "opened"),
    [
        ({}, True),
        ({"origin": ME}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"host": "evil.example"}, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "websocket"}, False),
    ],
)
def test_websockets_are_opened_by_programs_and_own_pages(headers, opened):
    client = TestClient(Guard(app()))
    headers = {"host": "127.0.0.1:4200", **headers}
    if opened:
        with client.websocket_connect("/api/events/in", headers=headers) as socket:
            socket.send_text("{}")
            assert socket.receive_text() == "{}"
    else:
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/api/events/in", headers=headers),
        ):
            pass


def login(text):
    return {"authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", login("guardianflow:right"), 200),
        ("/", {}, 401),
        ("/", login("guardianflow:wrong"), 401),
        ("/", login("guardianflow:right "), 401),
        ("/", {"authorization": "Bearer right"}, 401),
        ("/", {"authorization": "Basic é".encode()}, 401),
        ("/health", {}, 200),
        ("/version", {}, 200),
        ("/healthy", {}, 401),
        (f"/get-artifact?path=a/b.png&run_uuid={'a' * 32}", {}, 200),
        (f"/get-artifact?path=a/b.jpg&run_uuid={'a' * 32}", {}, 200),
        (f"/get-artifact?path=a/b.pt&run_uuid={'a' * 32}", {}, 401),
        (f"/get-artifact?path=a/b.png&path=b.pt&run_uuid={'a' * 32}", {}, 401),
        ("/get-artifact?path=a/b.png", {}, 401),
        ("/ajax-api/2.0/mlflow/experiments/search", {}, 401),
    ],
)
def test_mlflow_is_asked_with_the_password_but_for_pictures(path, headers, status):
    served = Guard(
        app(), login="guardianflow:right", realm="a name", open_to_all=mlflow_server._open_to_all
    )
    asked = ask(served, path=path, headers=headers)
    assert asked.status_code == status
    assert status == 200 or asked.json()["error_code"] == "UNAUTHENTICATED"
    assert ("basic" in asked.headers.get("www-authenticate", "").lower()) is (status == 401)


def test_what_is_open_to_all_is_read_only_and_not_for_websockets():
    served = Guard(app(), login="guardianflow:right", open_to_all=mlflow_server._open_to_all)
    assert ask(served, "POST", "/health").status_code == 401
    with (
        pytest.raises(WebSocketDisconnect),
        TestClient(served).websocket_connect("/health", headers={"host": "localhost"}),
    ):
        pass


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("path", ["/api/flows/filter", "/api/health", "/api", "/", "/x"])
@pytest.mark.parametrize("is_open", [prefect_server._open_to_all, lambda _: True])
@pytest.mark.parametrize("more", [{}, {"headers": {"content-length": "16000000"}}])
def test_who_has_no_password_sends_no_body(path, is_open, more):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 2**20

    served = Guard(PlainJson(app()), login="guardianflow:right", open_to_all=is_open)
    headers = {**JSON, **more.get("headers", {})}
    asked = ask(served, "POST", path, content=endless(), headers=headers)
    assert (asked.status_code, sent) == (401, 0)
    right = {**JSON, **login("guardianflow:right")}
    assert ask(served, "POST", path, content=b"{}", headers=right).json() == "{}"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/runs/flow-run/1", 200),
        ("/apiary", 200),
        ("/api/health", 200),
        ("/api/ready", 200),
        ("/api", 401),
        ("/api/", 401),
        ("/api/health/", 401),
        ("/api/flow_runs/1", 401),
        ("/%61pi/flow_runs/1", 401),
    ],
)
def test_prefect_gives_its_pages_without_a_password_and_no_more(path, status):
    served = Guard(app(), login="guardianflow:right", open_to_all=prefect_server._open_to_all)
    asked = ask(served, path=path)
    assert asked.status_code == status
    # Prefect's page asks; the browser would ask as well.
    assert "www-authenticate" not in asked.headers


def test_half_a_request_is_none():
    asked: list[bytes] = []

    async def reached(scope, receive, send):
        asked.append((await receive())["body"])

    async def send(message):
        raise AssertionError(message)

    for parts in ([b""], [b'{"a": 1}'], [b"{}", b" "]):
        messages = [{"type": "http.request", "body": one, "more_body": True} for one in parts]
        left = iter([*messages, {"type": "http.disconnect"}])

        async def receive(left=left):
            return next(left)

        scope = {
            "type": "http",
            "method": "POST",
            "headers": [(b"content-type", b"application/json")],
        }
        asyncio.run(PlainJson(reached)(scope, receive, send))
    assert asked == []


TEMPLATE = {"__prefect_kind": "jinja", "template": "{{ 9**(9**9) > 1 }}"}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"reason": "fewer missed masks"}', JSON, 200),
        (b'{"reason": "[\\u0041]"}', {"content-type": "application/json; charset=utf-8"}, 200),
        (b"", {}, 200),
        (b'{"reason": 1}', {}, 415),
        (b'{"reason": 1}', {"content-type": "text/plain"}, 415),
        (b'{"reason": 1}', {"content-type": "text/plain; application/json"}, 415),
        (b'{"reason": 1}', {"content-type": "application/x-www-form-urlencoded"}, 415),
        (b'{"reason": 1}', {"content-type": "application/jsonx"}, 415),
        (b"{", JSON, 422),
        (b"[" * 100_000, JSON, 422),
        (b"9" * 100_000, JSON, 422),
        (json.dumps(TEMPLATE).encode(), JSON, 422),
        (json.dumps({"a": [[{"b": TEMPLATE}]]}).encode(), JSON, 422),
        (json.dumps(TEMPLATE).replace("__p", "\\u005f\\u005fp").encode(), JSON, 422),
        (json.dumps(TEMPLATE).encode("utf-16"), JSON, 422),
        (json.dumps(TEMPLATE).encode("utf-32-le"), JSON, 422),
        (json.dumps(TEMPLATE).encode("utf-8-sig"), JSON, 422),
        # The last of two keys would win.
        (b'{"a": {"__prefect_kind": "jinja"}, "a": 1}', JSON, 422),
        (json.dumps("x" * guard.MAX_BODY_BYTES).encode(), JSON, 413),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS"])
def test_bodies_are_bounded_json_without_templates(body, headers, status, method):
    asked = ask(PlainJson(app()), method, "/api/flow_runs/1/resume", content=body, headers=headers)
    assert asked.status_code == status
    if status == 200:
        assert asked.json() == body.decode()


def test_a_body_without_end_is_refused_at_the_limit():
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 2**20
            yield b"9" * 2**20

    asked = ask(PlainJson(app()), "POST", content=endless(), headers=JSON)
    assert asked.status_code == 413
    assert sent <= guard.MAX_BODY_BYTES + 2 * 2**20


def test_a_template_ends_a_websocket():
    client = TestClient(PlainJson(app()), base_url=ME)
    with client.websocket_connect("/api/events/in") as socket:
        socket.send_text('{"payload": 1}')
        assert socket.receive_text() == '{"payload": 1}'
        socket.send_text(json.dumps({"payload": TEMPLATE}))
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()


def test_the_environment_adds_names(monkeypatch):
    monkeypatch.setenv(guard.HOSTS, " Prefect.plant, mlflow.plant:8443,")
    assert guard.allowed_hosts() == ["prefect.plant", "mlflow.plant:8443"]


def forwarded(raw_path: bytes, method="GET") -> tuple[int, bytes, list[bytes]]:
    """Status and body for a path that no client changes, and what reached the other server."""
    reached: list[bytes] = []
    answers: list[dict] = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        reached.append(head.split(b" ")[1])
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        answers.append(message)

    async def request():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        path, _, query = raw_path.partition(b"?")
        scope = {
            **{"type": "http", "method": method, "query_string": query},
            **{"raw_path": path, "path": unquote(path.decode())},
            "headers": [(b"host", b"127.0.0.1")],
        }
        await forwarding.guarded(f"http://127.0.0.1:{port}", [])(scope, receive, send)
        server.close()

    asyncio.run(request())
    body = b"".join(one.get("body", b"") for one in answers)
    return answers[0]["status"], body, reached


@pytest.mark.parametrize(
    "path",
    [
        b"/api/block_types/%2e%2e/../slug/mlflow/block_documents?include_secrets=true",
        b"/api/flow_runs/../block_documents/",
        b"/api/flow_runs/%2E%2e/block_documents/",
        b"/x%2f..%2fapi/variables/",
        b"/x/./api",
        b"/x/%2e",
        b"/x/..",
        b"//api/flow_runs/1",
        b"/api%2f/flow_runs/1",
        b"../api",
        b"*",
    ],
)
def test_a_path_that_two_servers_may_read_differently_is_not_passed_on(path):
    status, _, reached = forwarded(path)
    assert (status, reached) == (400, [])


@pytest.mark.parametrize(
    "path", [b"/", b"/api/flow_runs/?a=/../b", b"/x/a..b/.c?d", b"/%7Ekim/%c3%a4|'%2A"]
)
def test_other_paths_are_passed_on_letter_by_letter(path):
    status, _, reached = forwarded(path)
    assert (status, reached) == (200, [path])


def test_a_schema_of_the_clients_own_does_not_reach_the_server():
    for path in (b"/api/ui/schemas/validate", b"/api/ui/schemas/validate%0a"):
        status, body, reached = forwarded(path, "POST")
        assert (status, json.loads(body), reached) == (200, {"errors": [], "valid": True}, [])
    assert forwarded(b"/api/ui/schemas/validate")[2] == [b"/api/ui/schemas/validate"]
