"""The application of the simulated judges, and a thread to run it in."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from app.demo_judges.batches import Batches
from app.demo_judges.claude import Claude
from app.demo_judges.completions import Completions
from app.demo_judges.forms import RefusedError, refusal
from app.demo_judges.ledger import Ledger
from app.demo_judges.lost import Gate
from app.demo_judges.script import Script
from app.demo_judges.simulation import Simulation
from app.domain.errors import UnavailableError

LEDGER = "/simulated/ledger"
GATE = "/simulated/gate"


@dataclass
class DemoJudges:
    """A running server: where it is, how it behaves, what it did."""

    url: str
    simulation: Simulation
    gate: Gate

    @property
    def ledger(self) -> Ledger:
        """What was asked and charged."""
        return self.simulation.ledger

    @property
    def completions_url(self) -> str:
        """The address for chat completions."""
        return f"{self.url}/v1"


def create_app(simulation: Simulation, gate: Gate) -> FastAPI:
    """Both APIs at one address, and what another process may ask: the ledger, and the gate."""
    app = FastAPI(title="Simulated judges", docs_url=None, redoc_url=None, openapi_url=None)
    claude, completions = Claude(simulation, gate), Completions(simulation, gate)
    app.include_router(Batches(simulation).router())
    app.include_router(claude.router())
    app.include_router(completions.router())

    @app.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> Response:  # noqa: ARG001 - what handlers are given
        """Anthropic's form of an error."""
        return refusal(error)

    @app.get("/v1/models", response_model=None)
    def models(request: Request) -> Response:
        """Both APIs have this address; Anthropic's clients send a version."""
        return claude.list_models(request) if "anthropic-version" in request.headers else completions.list_models()

    @app.get(LEDGER, response_model=None)
    def ledger() -> Response:
        """All entries, and what they add up to."""
        book = simulation.ledger
        return JSONResponse(
            {
                "calls": len(book.entries),
                "charged": book.charged,
                "repeated": book.repeated,
                "repeated_needlessly": book.repeated_needlessly,
                "held": gate.held,
                "entries": [entry.as_json() for entry in book.entries],
            }
        )

    @app.post(GATE, response_model=None)
    def change_gate(body: dict[str, int | None]) -> Response:
        """``{"after": 3}`` lets three more replies out and holds the others; ``{"after": null}`` lets all out."""
        after = body.get("after")
        if after is None:
            gate.open()
        else:
            gate.close(after)
        return JSONResponse({"held": gate.held})

    return app


@contextmanager
def demo_judges(script: Script | None = None, port: int = 0) -> Iterator[DemoJudges]:
    """Run the server in a thread, at a free port unless one is given, until the block ends.

    Raises:
        UnavailableError: something else listens at this port.
    """
    simulation, gate = Simulation(script or Script()), Gate()
    with _listening(port) as listener:
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(simulation, gate),
                log_level="critical",  # replies that break off on purpose are no news
                timeout_graceful_shutdown=1,
                lifespan="off",
            )
        )
        thread = threading.Thread(target=server.run, args=([listener],), name="demo-judges", daemon=True)
        thread.start()  # who connects before it is ready waits in the socket's queue
        try:
            yield DemoJudges("http://{}:{}".format(*listener.getsockname()), simulation, gate)
        finally:
            gate.open()
            server.should_exit = True
            thread.join()


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise UnavailableError(
            f"The simulated judges cannot listen at port {port}; nothing was started. Stop what listens there, or give "
            "another port.",
            str(error),
        ) from error
