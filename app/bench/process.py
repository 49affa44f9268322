"""The server of the bench: a process of its own, which can be killed and started again on the same port."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field

from app.config import ROOT, Settings
from app.domain.errors import UnavailableError

_PATIENCE_SECONDS = 60


@dataclass
class ServerProcess:
    """Start it, kill it, start it again."""

    settings: Settings
    port: int
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            UnavailableError: it does not start; the end of what it printed is told.
        """
        log = self.settings.home / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 (this very program)
                [sys.executable, "-m", "app.bench.server", str(self.port)],
                cwd=ROOT, env=environment(self.settings), stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
                raise UnavailableError("The server of the bench did not start. Nothing was measured.", "".join(said))
            time.sleep(0.05)

    def kill(self) -> None:
        """``kill -9``, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as Ctrl-C would."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def environment(settings: Settings) -> dict[str, str]:
    """Settings of the bench and none of the user's; limits of votes would be measured instead of votes."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("ARENA_")}
    given = {"home": settings.home, "database_url": settings.database_url, "base_model": "", "sample_study": "false",
             "secret": "", "broker_url": "", "log_level": "WARNING", "limit_vote": ""}  # fmt: skip
    return others | {f"ARENA_{name.upper()}": str(value) for name, value in given.items()}
