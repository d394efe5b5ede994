"""Stands before a server and refuses requests that no program of ours sends.

    request --> Guard ------------------> PlainJson -----------------> Prefect
                known name, own pages     JSON, no templates
            --> Guard with a password ------------------------------> MLflow

Any page that somebody visits can make the browser send requests to servers on this machine, and for
some no permission is needed: forms, `text/plain`, bodies without a type, websockets. `Guard`
recognizes them by `Host`, `Origin` and `Sec-Fetch-*`, which pages cannot set. Of these, programs
send only `Host`.

`PlainJson` is only for Prefect, which fills in every template that it finds in a request, however
long that takes.
"""

import base64
import hmac
import json
import os
import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = "GUARDIANFLOW_ALLOWED_HOSTS"
"""The variable with more names of the servers, e.g. that of a proxy before them:
`prefect.plant,mlflow.plant:8443`."""
MAX_BODY_BYTES = 16 * 2**20
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_HOST = re.compile(r"(\[[0-9a-f:]+\]|[a-z0-9._-]+)(?::\d+)?")
_TEMPLATE = "__prefect_kind"
_CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
Refusal = tuple[int, str]


def allowed_hosts() -> list[str]:
    """The names that the environment adds to those of this machine, in lower case."""
    return [name.strip().lower() for name in os.environ.get(HOSTS, "").split(",") if name.strip()]


class Guard:
    """Lets only those requests through that name this server as its own pages and programs do.

    Args:
        app: What answers them.
        hosts: Names of the server beside those of this machine, with a port or for every port.
        login: `user:password` that each request has to have; None: the application asks for it.
        realm: What a browser asks a person to sign in to; None: the application's pages ask.
        open_to_all: Says which requests need no password. One with a body always does, so that
            nobody can fill this process's memory.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Sequence[str] = (),
        login: str | None = None,
        realm: str | None = None,
        open_to_all: Callable[[Scope], bool] = lambda _: False,
    ) -> None:
        self._app = app
        self._hosts = tuple(hosts)
        self._open_to_all = open_to_all
        self._realm = realm
        self._login = b"Basic " + base64.b64encode(login.encode()) if login else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse, one request or websocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif refusal := self._refusal(scope, Headers(scope=scope)):
            await refuse(scope, receive, send, refusal, realm=self._realm)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Refusal | None:
        named = headers.getlist("host")
        host = named[0].lower() if len(named) == 1 else ""
        if not self._is_ours(host):
            return 403, f"This server has another name; {HOSTS} can add one where it starts."
        origins = {_netloc(origin) for origin in headers.getlist("origin")}
        elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if origins - {host, *self._hosts} or (elsewhere and not _is_link(scope, headers)):
            return 403, "Pages of other servers may not ask this one."
        is_open = self._open_to_all(scope) and not _brings_body(headers)
        if self._login and not is_open and not self._knows(headers):
            return 401, "This server asks for user and password."
        return None

    def _is_ours(self, host: str) -> bool:
        # With any port: a tunnel has another one. A name that only DNS leads here is not among
        # these.
        found = _HOST.fullmatch(host)
        return found is not None and bool({found[1], host} & {*_LOOPBACK, *self._hosts})

    def _knows(self, headers: Headers) -> bool:
        given = headers.get("authorization", "").encode("latin-1", "replace")
        return self._login is not None and hmac.compare_digest(given, self._login)


def _brings_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin.lower()).netloc
    except ValueError:
        return ""


def _is_link(scope: Scope, headers: Headers) -> bool:
    """Whether somebody followed a link to this server, or a page shows a picture of it."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    kind = headers.get("sec-fetch-dest")
    return kind == "image" or (kind == "document" and headers.get("sec-fetch-mode") == "navigate")


class PlainJson:
    """Lets only bodies through that are JSON of limited size without a template of Prefect's."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request; a refused message ends its websocket."""
        if scope["type"] == "websocket":
            await self.app(scope, _plain_messages(receive, send), send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        messages, size = [await receive()], 0
        while True:
            if messages[-1]["type"] == "http.disconnect":
                # A client that left halfway did not send what the first half says.
                return
            size += len(messages[-1].get("body", b""))
            if size > MAX_BODY_BYTES:
                await refuse(scope, receive, send, (413, f"More than {MAX_BODY_BYTES} bytes."))
                return
            if not messages[-1].get("more_body"):
                break
            messages.append(await receive())
        body = b"".join(message.get("body", b"") for message in messages)
        if body and (refusal := _of_body(body, Headers(scope=scope))):
            await refuse(scope, receive, send, refusal)
            return
        await self.app(scope, replay(messages, receive), send)


def _of_body(body: bytes, headers: Headers) -> Refusal | None:
    kinds = [kind.partition(";")[0].strip().lower() for kind in headers.getlist("content-type")]
    if kinds != ["application/json"]:
        return 415, "Send application/json."
    return None if _is_plain(body) else (422, f"Send JSON without {_TEMPLATE}.")


def _is_plain(text: bytes | str) -> bool:
    """Whether it is JSON without a template at any depth, and not nested too deeply to read."""
    try:
        # As the server decodes it, whatever the encoding.
        json.loads(text, object_pairs_hook=_pairs)
    except (ValueError, RecursionError):
        return False
    return True


def _pairs(pairs: list[tuple[str, object]]) -> None:
    if any(key == _TEMPLATE for key, _ in pairs):
        raise ValueError(_TEMPLATE)


def _plain_messages(receive: Receive, send: Send) -> Receive:
    async def plain() -> Message:
        message = await receive()
        if message["type"] != "websocket.receive":
            return message
        text = message.get("text") or message.get("bytes") or ""
        if len(text) <= MAX_BODY_BYTES and _is_plain(text):
            return message
        await send({"type": "websocket.close", "code": 1008})
        return {"type": "websocket.disconnect", "code": 1008}

    return plain


def replay(messages: list[Message], receive: Receive) -> Receive:
    """Receive the same messages again, and then whatever comes next."""
    left = iter(messages)

    async def again() -> Message:
        for message in left:
            return message
        return await receive()

    return again


async def refuse(
    scope: Scope, receive: Receive, send: Send, refusal: Refusal, *, realm: str | None = None
) -> None:
    """Answer that the request is refused, and why."""
    status, why = refusal
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": why})
        return
    headers = {"www-authenticate": f'Basic realm="{realm}"'} if status == 401 and realm else None
    # Prefect's clients show `detail`, MLflow's show `message`.
    said = {"detail": why, "message": why, "error_code": _CODES.get(status, "BAD_REQUEST")}
    await JSONResponse(said, status, headers)(scope, receive, send)
