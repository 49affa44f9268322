"""One job from claim to end: the work runs in a process of its own, this side watches it.

A process of its own because CUDA does not survive a fork, memory goes back to the system whole, and a crash
in native code takes only the job with it.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid

from app.config import ROOT, Settings
from app.db import session_scope
from app.domain.errors import UnavailableError
from app.log import get_logger
from worker.claim import Claim, LostJobError, claim, utc_now

log = get_logger(__name__)

CHILD = "worker.child"
"""The module that does the work."""

_LOOK_SECONDS = 1.0
STOP_SECONDS = 20.0
"""How long a job may take to save what it has after it was told to stop."""


def worker_name() -> str:
    """This worker process among all machines."""
    return f"{socket.gethostname()}:{os.getpid()}"


def supervise(job_id: uuid.UUID, settings: Settings, stopping: threading.Event) -> None:
    """Claim the job, run it in a process, keep its heartbeat, and put it back in line if the process dies."""
    taken = claim(job_id, worker=worker_name())
    if taken is None:
        return
    log.info("job_started", job_id=str(job_id), attempt=taken.attempt)
    process = subprocess.Popen(  # noqa: S603 (our own module, no shell)
        [sys.executable, "-m", CHILD, str(taken.job_id), str(taken.attempt), str(os.getpid())],
        cwd=ROOT,
        start_new_session=True,  # a Ctrl-C in the terminal reaches us alone; we tell the child ourselves
    )
    try:
        _watch(process, taken, settings, stopping)
    finally:
        _stop(process)
    reason = _ending(process.returncode, stopping)
    # Does nothing when the child has recorded its own end.
    taken.give_back(reason=reason, counts=not stopping.is_set())
    log.info("job_ended", job_id=str(job_id), exit_code=process.returncode)


def _watch(process: subprocess.Popen[bytes], taken: Claim, settings: Settings, stopping: threading.Event) -> None:
    beaten_at = time.monotonic()
    while process.poll() is None and not stopping.is_set():
        try:
            process.wait(timeout=min(_LOOK_SECONDS, settings.pulse_seconds))
        except subprocess.TimeoutExpired:
            if time.monotonic() - beaten_at < settings.pulse_seconds:
                continue
            beaten_at = time.monotonic()
            try:
                with session_scope() as session:
                    taken.hold(session).heartbeat_at = utc_now()
            except LostJobError:
                return
            except UnavailableError as error:  # the database may come back before anybody misses us
                log.warning("heartbeat_failed", reason=error.message)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ending(code: int, stopping: threading.Event) -> str:
    if stopping.is_set():
        return "The worker was stopped; the job goes on when one starts again."
    if code < 0:
        name = signal.Signals(-code).name
        hint = " Often the machine ran out of memory." if code == -signal.SIGKILL else ""
        return f"The process of this job was ended by {name}.{hint}"
    return f"The process of this job ended unexpectedly (exit code {code})."
