"""The real application on a port of this machine."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from app.config import Settings
from app.main import create_app


@contextmanager
def serve(settings: Settings) -> Iterator[str]:
    """The address of the application with these settings, for as long as the block lasts.

    Logging, which the application sets up for the process, is put back afterwards.
    """
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    app = create_app(settings)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2, lifespan="on")
        server = uvicorn.Server(config)
        listening.listen(128)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="arena")
        thread.start()
        try:
            # The port listens already, so this waits in line until the application answers.
            httpx.get(f"{address}/healthz", timeout=60, trust_env=False).raise_for_status()
            yield address
        finally:
            server.should_exit = True
            thread.join()
            app.state.database.engine.dispose()
            root.handlers, root.level = handlers, level
