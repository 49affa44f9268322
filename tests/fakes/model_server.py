"""A server that speaks chat completions as vLLM does with LoRA modules, and fails as a test tells it to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VERSION = "0.10.1"
SYSTEM_FINGERPRINT = "fp_test"


class Fault(Enum):
    """What happens to one request instead of a reply."""

    RATE_LIMITED = auto()
    SERVER_FAULT = auto()
    DROPPED = auto()
    """The connection breaks in the middle of the reply."""
    NO_JSON = auto()
    HANGING = auto()
    """Nothing comes until the test ends."""


@dataclass
class FakeModelServer:
    """``models``: by name, the base that each sits on, empty for a base. ``faults`` by the number of the request."""

    models: dict[str, str]
    faults: dict[int, Fault] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    """Settings that it takes for a mistake."""
    tells_parents: bool = True
    one_model_for_all: bool = False
    answers_as: str = ""
    hang_from: int | None = None
    """Requests from this number on hang."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Of the requests for responses, in the order in which they came."""
    keys: set[str] = field(default_factory=set)
    url: str = ""
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def written(self) -> list[dict[str, Any]]:
        """Requests at the temperature of the plan: all but the probes."""
        return [body for body in self.bodies if body["temperature"] > 0]

    def text(self, body: dict[str, Any]) -> str:
        """What it says: the same for the same request, another for another seed unless it is greedy."""
        model = "any" if self.one_model_for_all else body["model"]
        seed = body["seed"] if body["temperature"] else "greedy"
        return f"{model} on “{body['messages'][-1]['content']}” with {seed}."


def _completion(server: FakeModelServer, body: dict[str, Any]) -> dict[str, Any]:
    limit = body.get("max_tokens", body.get("max_completion_tokens"))
    words = server.text(body).split()
    cut = len(words) > limit
    return {
        "model": server.answers_as or body["model"],
        "system_fingerprint": SYSTEM_FINGERPRINT,
        "choices": [
            {
                "message": {"role": "assistant", "content": " ".join(words[:limit])},
                "finish_reason": "length" if cut else "stop",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": min(len(words), limit)},
    }


class _Handler(BaseHTTPRequestHandler):
    server: "_Listening"

    @property
    def fake(self) -> FakeModelServer:
        """What to be."""
        return self.server.fake

    def do_GET(self) -> None:
        self.fake.keys.add(self.headers.get("authorization", ""))
        if self.path == "/version":
            self._send(200, {"version": VERSION})
        elif self.path == "/v1/models":
            entries = [
                {"id": name, "owned_by": "vllm"} | ({"parent": parent or None} if self.fake.tells_parents else {})
                for name, parent in self.fake.models.items()
            ]
            self._send(200, {"data": entries})
        else:
            self._send(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.fake._lock:
            number = len(self.fake.bodies)
            self.fake.bodies.append(body)
            self.fake._at_once += 1
            self.fake.most_at_once = max(self.fake.most_at_once, self.fake._at_once)
        try:
            self._answer(number, body)
        finally:
            with self.fake._lock:
                self.fake._at_once -= 1

    def _answer(self, number: int, body: dict[str, Any]) -> None:
        refused = [name for name in self.fake.refused if name in body]
        fault = self.fake.faults.get(number)
        if fault is Fault.HANGING or (self.fake.hang_from is not None and number >= self.fake.hang_from):
            self.fake._ended.wait()
            self.close_connection = True
        elif fault is Fault.RATE_LIMITED:
            self._send(429, {"error": {"message": "slow down"}}, {"retry-after": "0"})
        elif fault is Fault.SERVER_FAULT:
            self._send(500, {"error": {"message": "CUDA error"}})
        elif fault is Fault.NO_JSON:
            self._send(200, b"<html>Bad gateway</html>")
        elif body["model"] not in self.fake.models:
            self._send(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        elif refused:
            self._send(400, {"error": {"message": f"Unrecognized request argument supplied: {refused[0]}"}})
        else:
            self._send(200, _completion(self.fake, body), cut=fault is Fault.DROPPED)

    def _send(
        self, status: int, body: dict[str, Any] | bytes, headers: dict[str, str] | None = None, *, cut: bool = False
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content) + (10 if cut else 0)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.close_connection or cut

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class _Listening(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: FakeModelServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake = fake

    def handle_error(self, *_: Any) -> None:
        """Quiet: a client that was told to stop leaves in the middle."""


@contextmanager
def model_server(server: FakeModelServer) -> Iterator[FakeModelServer]:
    """Listen at a free port of the loopback address until the block ends."""
    with _Listening(server) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        server.url = f"http://127.0.0.1:{listening.server_port}/v1"
        try:
            yield server
        finally:
            server._ended.set()
            listening.shutdown()
            thread.join()
