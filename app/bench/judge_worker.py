"""The worker of the judges' bench: Celery and the processes of its jobs, which can be killed all at once."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

from app.bench.process import environment
from app.config import ROOT, Settings

_QUICK = {"heartbeat_seconds": 0.3, "sweep_seconds": 0.3, "stale_seconds": 4, "judge_retry_seconds": 0.05}
"""A worker that soon notices what has died, and judges that soon try again."""
_STOP_SECONDS = 30


@dataclass
class JudgeWorker:
    """Start it, kill it, start it again."""

    settings: Settings
    url: str
    """Of the simulated judges."""
    at_once: int
    timeout_seconds: float
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def start(self) -> None:
        """Start a worker for the queue that judges wait in."""
        quick = _QUICK | {"judge_concurrency": self.at_once, "judge_timeout_seconds": self.timeout_seconds}
        given = {f"ARENA_{name.upper()}": str(value) for name, value in quick.items()}
        given |= {"ANTHROPIC_API_KEY": "simulated", "ANTHROPIC_BASE_URL": self.url}
        with (self.settings.home / "worker.log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", "--app", "worker.celery_app", "--quiet", "worker", "--queues", "io",
                 "--pool", "threads", "--concurrency", "4", "--without-gossip", "--without-mingle",
                 "--without-heartbeat", "--loglevel", "WARNING"],
                cwd=ROOT, env=environment(self.settings) | given, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """``kill -9`` the worker and the processes of its jobs, and wait until they are gone."""
        if self._process is None:
            return
        killed = [self._process.pid, *_children(self._process.pid)]
        for pid in killed:
            _signal(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        while any(_lives(pid) for pid in killed):
            time.sleep(0.02)

    def stop(self) -> None:
        """End it as Ctrl-C would."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


def _table() -> list[tuple[int, int, str]]:
    """Process, parent and state of all processes of this machine."""
    found = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="],  # noqa: S607
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    rows = (line.split() for line in found.splitlines())
    return [(int(pid), int(parent), state) for pid, parent, state, *_ in rows]


def _children(parent: int) -> list[int]:
    return [pid for pid, above, _ in _table() if above == parent]


def _lives(wanted: int) -> bool:
    return any(pid == wanted and not state.startswith("Z") for pid, _, state in _table())


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
