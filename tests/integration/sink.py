"""A local HTTP server that keeps what a notification block sends, as a chat system would."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Sink:
    """What arrived: one dictionary for each message."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.messages: list[dict[str, str]] = []

    def about(self, text: str) -> list[dict[str, str]]:
        """The messages with this text."""
        return [one for one in list(self.messages) if text in json.dumps(one)]

    def wait_for(self, text: str, *, timeout_s: float = 30) -> dict[str, str]:
        """The first message with this text."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if found := self.about(text):
                return found[0]
            time.sleep(0.05)
        raise AssertionError(f"no message about {text!r} came; these did: {self.messages}")


@contextmanager
def open_sink() -> Iterator[Sink]:
    """A sink that listens on the loopback address for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            sink.messages.append(json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sink = Sink(f"http://127.0.0.1:{server.server_port}/")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
