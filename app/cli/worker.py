"""``arena worker``: the Celery processes that do background work."""

import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.cli.output import console
from app.config import ROOT, get_settings
from app.db import session_scope
from app.domain.errors import UnavailableError
from app.domain.terms import Queue
from app.queries.jobs import worker_alive

if TYPE_CHECKING:
    from types import FrameType

_CONCURRENCY = {Queue.GPU: 1, Queue.IO: 4}
_STOP_SECONDS = 28.0
"""A little less than `arena up` waits, a little more than a job gets to save what it has."""


def run(queue: Queue | None, *, parent: int = 0) -> int:
    """Run a worker for one queue, or one for each, until told to stop. Returns the exit code.

    With ``parent`` it also stops when that process, which started it, is gone.
    """
    stopping = threading.Event()

    def on_signal(_number: int, _frame: "FrameType | None") -> None:
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the last: the terminal was closed
        signal.signal(number, on_signal)
    processes = [_start(one) for one in ([queue] if queue else list(Queue))]
    while not stopping.is_set() and all(process.poll() is None for process in processes):
        if parent and os.getppid() != parent:
            break
        stopping.wait(0.3)
    for process in processes:
        if process.poll() is None:
            process.terminate()
    codes = []
    for process in processes:
        try:
            codes.append(process.wait(timeout=_STOP_SECONDS))
        except subprocess.TimeoutExpired:
            process.kill()
            codes.append(process.wait())
    return 0 if stopping.is_set() else max(abs(code) for code in codes)


def check(queue: Queue | None) -> None:
    """Say whether a worker of this machine works on the queue, or on both; for health checks.

    Raises:
        UnavailableError: none has been heard of lately.
    """
    now, machine = datetime.now(UTC), socket.gethostname()
    stale_seconds = get_settings().stale_seconds
    with session_scope(write=False) as session:
        silent = [
            one
            for one in ([queue] if queue else list(Queue))
            if not worker_alive(session, queue=one, now=now, stale_seconds=stale_seconds, machine=machine)
        ]
    if silent:
        raise UnavailableError(f"No worker of {machine} has been heard of lately for: {', '.join(silent)}.")
    console.print(f"A worker of {machine} is alive.", highlight=False)


def _start(queue: Queue) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 (our own module, no shell)
        [
            sys.executable, "-m", "celery", "--app", "worker.celery_app", "--quiet", "worker",
            "--queues", queue.value, "--hostname", f"{queue.value}@%h",
            # Threads only watch: the work itself runs in a process of its own, see worker/supervise.py.
            "--pool", "threads", "--concurrency", str(_CONCURRENCY[queue]),
            "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING",
        ],
        cwd=ROOT,
        start_new_session=True,
    )  # fmt: skip
