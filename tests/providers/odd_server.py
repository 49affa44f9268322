"""A server that answers what a test tells it to, however odd."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CUT = "x-cut-off"
"""Bytes that a reply promises and does not send."""


@dataclass
class OddServer:
    """Answers from a list, the last of them for ever, and keeps what it was asked."""

    answers: list[tuple[int, Any, dict[str, str]]]
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


@contextmanager
def odd_server(*answers: tuple[int, Any] | tuple[int, Any, dict[str, str]]) -> Iterator[OddServer]:
    server = OddServer([(one[0], one[1], one[2] if len(one) > 2 else {}) for one in answers])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}"))
            self.do_GET()

        def do_GET(self) -> None:
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            status, body, headers = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            missing = int(headers.get(CUT, "0"))
            self.send_header("content-length", str(len(content) + missing))
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = self.close_connection or missing > 0

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        server.url = f"http://127.0.0.1:{listening.server_port}/v1"
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
