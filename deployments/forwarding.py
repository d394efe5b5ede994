"""The guard in front of a Prefect server that was started without one.

    proxy (nginx) --> python -m deployments.forwarding --> prefect server start

Passes requests on that `deployments.guard` lets through; websockets are refused, since nobody
behind the proxy needs one. A Prefect server that is started as `make up` starts it has the guard
already.
"""

import argparse
import sys
from urllib.parse import urlsplit

import httpx
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.guard import Guard, PlainJson, allowed_hosts, refuse

_TIMEOUT = httpx.Timeout(60, connect=5)
# Those that concern one connection alone (RFC 9110, 7.6.1), and what the next connection sets.
_OF_A_CONNECTION = {
    *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"),
    *(b"transfer-encoding", b"content-length"),
}


class Forward:
    """Passes requests on to another server, as they are.

    Args:
        address: Of the other server, e.g. `http://127.0.0.1:4200`.
    """

    def __init__(self, address: str) -> None:
        self._address = httpx.URL(address)
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False, trust_env=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, and its answer back."""
        if scope["type"] != "http":
            await refuse(scope, send, (403, "Only requests are passed on."))
            return
        path, query = scope["raw_path"], scope["query_string"]
        # Not by the client, which adds headers of its own.
        request = httpx.Request(
            scope["method"],
            self._address.copy_with(raw_path=path + (b"?" + query if query else b"")),
            headers=[one for one in scope["headers"] if one[0] not in _OF_A_CONNECTION],
            content=await _body(receive),
        )
        try:
            answer = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            await refuse(scope, send, (502, f"{self._address} does not answer: {error!r}."))
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


async def _body(receive: Receive) -> bytes:
    """The whole of it: `PlainJson` has seen that it is not too long."""
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def guarded(address: str, hosts: list[str]) -> ASGIApp:
    """What is served: another server behind the guard."""
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
