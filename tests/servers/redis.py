"""A throwaway Redis (or Valkey) server that keeps nothing on disk."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from tests.servers.once import Server

_PATIENCE_SECONDS = 10.0


def start(folder: Path, program: Path) -> Server:
    """Start a server on a free port of the loopback address and wait until it answers.

    Raises:
        RuntimeError: it ended or stayed silent; the message carries its log.
    """
    home = Path(tempfile.mkdtemp(prefix="redis-", dir=folder))
    if not os.access(program, os.X_OK):
        program = Path(shutil.copy(program, home / "redis-server"))
        program.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    log = home / "log"
    # As a daemon it belongs to no test process: the worker that starts it may end before the others.
    command = [program, "--daemonize", "yes", "--port", str(port), "--bind", "127.0.0.1", "--databases", "16"]
    command += ["--dir", home, "--logfile", log, "--save", "", "--appendonly", "no"]
    subprocess.run(command, capture_output=True, check=False)
    url = f"redis://127.0.0.1:{port}"
    return Server(url=url, stop=["kill", str(_process_id(url, log))])


def _process_id(url: str, log: Path) -> int:
    """The server's process id, as soon as it answers."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with redis.Redis.from_url(url) as client:
        while time.monotonic() < deadline:
            try:
                return int(client.info("server")["process_id"])
            except redis.ConnectionError:
                time.sleep(0.02)
    tail = log.read_text(errors="replace")[-2000:] if log.exists() else "(it wrote no log)"
    raise RuntimeError(f"The Redis server did not start:\n{tail}")
