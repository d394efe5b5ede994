"""The guard in front of a Prefect server that was started without one.

    proxy (nginx) --> python -m deployments.forwarding --> prefect server start

Requests that `deployments.guard` lets through are passed on unchanged. Websockets are refused,
since nobody behind the proxy needs one, and so are paths that proxy and server may read
differently. A Prefect server that was started by `make up` already has the guard.
"""

import argparse
import sys
from urllib.parse import urlsplit

import httpx
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.guard import Guard, PlainJson, allowed_hosts, refuse

_TIMEOUT = httpx.Timeout(60, connect=5)
# Headers of a single connection (RFC 9110, 7.6.1), and those that the next connection sets.
_OF_A_CONNECTION = {
    *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"),
    *(b"transfer-encoding", b"content-length"),
}

_VALIDATE = "/ui/schemas/validate"
_FITS = b'{"errors":[],"valid":true}'


class Forward:
    """Passes requests on to another server, unchanged.

    One request is answered here: whether what was filled into a form fits a schema, always with
    yes. The client sends the schema itself, perhaps with patterns that take for ever to match or
    addresses to fetch. The answer to the form is checked again, by the schema that the server has.
    """

    def __init__(self, address: str) -> None:
        self._address = httpx.URL(address)
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False, trust_env=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, and its answer back."""
        if scope["type"] != "http":
            await refuse(scope, receive, send, (403, "Only requests are passed on."))
            return
        if _is_ambiguous(scope["path"]):
            await refuse(scope, receive, send, (400, "Name the path without '.', '..' and '//'."))
            return
        # Routes also match with a line break at the end.
        if scope["method"] == "POST" and scope["path"].strip().endswith(_VALIDATE):
            await Response(_FITS, media_type="application/json")(scope, receive, send)
            return
        path, query = scope["raw_path"], scope["query_string"]
        target = path + (b"?" + query if query else b"")
        # Not made by the client, which would add headers of its own.
        request = httpx.Request(
            scope["method"],
            self._address,
            headers=[one for one in scope["headers"] if one[0] not in _OF_A_CONNECTION],
            # `PlainJson` has checked its length.
            content=await Request(scope, receive).body(),
            # The client would normalize a URL: it would remove `..` and the like.
            extensions={"target": target},
        )
        try:
            answer = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            why = f"{self._address} does not answer: {error!r}."
            await refuse(scope, receive, send, (502, why))
            return
        try:
            headers = [one for one in answer.headers.raw if one[0].lower() not in _OF_A_CONNECTION]
            await send(
                {"type": "http.response.start", "status": answer.status_code, "headers": headers}
            )
            async for part in answer.aiter_raw():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await answer.aclose()


def _is_ambiguous(path: str) -> bool:
    """Whether programs read it as different paths, once it is unquoted."""
    first, *segments = path.split("/")
    return bool(first) or "" in segments[:-1] or not {".", ".."}.isdisjoint(segments)


def guarded(address: str, hosts: list[str]) -> ASGIApp:
    """The application: another server behind the guard."""
    return Guard(PlainJson(Forward(address)), hosts=hosts)


def main(arguments: list[str] | None = None) -> int:
    """The command `python -m deployments.forwarding`."""
    parser = argparse.ArgumentParser(prog="python -m deployments.forwarding", description=__doc__)
    parser.add_argument("to", help="address of the Prefect server, e.g. http://127.0.0.1:4200")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=4201, help="port to listen on")
    options = parser.parse_args(arguments)
    if urlsplit(options.to).scheme not in ("http", "https"):
        print(f"{options.to!r} is no address of a server: give http://...", file=sys.stderr)
        return 2
    uvicorn.run(
        guarded(options.to, allowed_hosts()),
        host=options.host,
        port=options.port,
        lifespan="off",
        log_level="warning",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
