"""A proxy in front of a real server that breaks one response.

    client --> proxy --> server        arm(LOST, write=3): the third write reaches the server,
           <-X       <--               but its response is lost

Networks, gateways and restarts cause this. The tests check how a client and its retries cope.
"""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.integration.faults import is_write

_DEADLINE_S = 60


class Fault(StrEnum):
    """What happens to a write."""

    LOST = "done, then the connection drops"
    DENIED = "done, then 503"
    REFUSED = "503, not done"
    TRUNCATED = "done, then half an answer"
    LATE = "done, the answer comes after the client's patience"
    HELD = "done after the client's patience"


SLOW = (Fault.LATE, Fault.HELD)
"""Faults that wait until the client gives up."""


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Proxy:
    """Passes everything on to a server, but for the writes that it is told to spoil.

    Args:
        server: Address of the real server.
        patience_s: Longer than the client waits for an answer.
    """

    def __init__(self, server: str, patience_s: float) -> None:
        self._server = urlsplit(server)
        self._patience_s = patience_s
        self._lock = threading.Condition()
        self._fault: Fault | None = None
        self._spoiled = range(0)
        self._writes = self._open = 0
        self.hits = 0
        """How many writes were spoiled since it was armed."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._http.server_address[1]}"

    def arm(self, fault: Fault, write: int, times: int) -> None:
        """Spoil a write, counted from 1, and those right after it: a client's own repetitions."""
        with self._lock:
            self._fault, self._spoiled = fault, range(write, write + times)
            self._writes = self.hits = 0

    def disarm(self) -> None:
        """Pass everything on, once what was held has reached the server."""
        with self._lock:
            self._fault = None
            assert self._lock.wait_for(lambda: not self._open, _DEADLINE_S), "requests are stuck"

    def serve(self) -> None:
        """Answer until `close`."""
        self._http.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Answer no more."""
        self._http.shutdown()
        self._http.server_close()

    def _fault_of(self, method: str, path: str) -> Fault | None:
        """Count a request, and say what becomes of it."""
        with self._lock:
            self._open += 1
            if self._fault is None or not is_write(method, path):
                return None
            self._writes += 1
            if self._writes not in self._spoiled:
                return None
            self.hits += 1
            return self._fault

    def _closed(self) -> None:
        with self._lock:
            self._open -= 1
            self._lock.notify_all()

    def _wait(self) -> None:
        """Wait until the client must have given up."""
        threading.Event().wait(self._patience_s)

    def _forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> _Answer:
        upstream = http.client.HTTPConnection(self._server.netloc, timeout=_DEADLINE_S)
        try:
            upstream.request(method, path, body, headers)
            answer = upstream.getresponse()
            return _Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            upstream.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Else the last part of every answer waits for the client's confirmation of the first.
            disable_nagle_algorithm = True

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                fault = proxy._fault_of(self.command, self.path)
                try:
                    answer = self.do(fault, body)
                finally:
                    proxy._closed()
                if answer is not None:
                    self.answer(answer, cut=fault is Fault.TRUNCATED)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = pass_on  # noqa: N815

            def do(self, fault: Fault | None, body: bytes) -> _Answer | None:
                """Carry a request out, or not; None where nobody is to hear of it."""
                busy = _Answer(503, [("Content-Type", "text/plain")], b"try again later")
                if fault is Fault.REFUSED:
                    return busy
                if fault is Fault.HELD:
                    proxy._wait()
                answer = proxy._forward(self.command, self.path, dict(self.headers), body)
                if fault is Fault.DENIED:
                    return busy
                if fault is Fault.LATE:
                    proxy._wait()
                if fault in (Fault.LOST, *SLOW):
                    self.close_connection = True
                    return None
                return answer

            def answer(self, answer: _Answer, *, cut: bool) -> None:
                self.send_response_only(answer.status)
                for key, value in answer.headers:
                    if key.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
                self.close_connection = self.close_connection or cut

            def log_message(self, *_: object) -> None:
                """Say nothing: MLflow's own log names every request."""

        return Handler


@contextmanager
def proxy_before(server: str, patience_s: float) -> Iterator[Proxy]:
    """A proxy that answers for as long as the block lasts."""
    proxy = Proxy(server, patience_s)
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(_DEADLINE_S)
