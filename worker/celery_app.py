"""The Celery application of the workers: ``celery -A worker.celery_app worker -Q gpu``."""

import os
import signal
import threading
import uuid
import warnings
from datetime import datetime, timedelta
from typing import Any

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import setup_logging, worker_ready, worker_shutdown, worker_shutting_down
from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.config import get_settings
from app.db import session_scope
from app.domain.errors import UnavailableError
from app.domain.terms import Queue
from app.jobs import TASK, make_celery
from app.log import configure_logging, get_logger
from app.models import Worker
from app.services.removal import clear_broken_uploads
from app.services.snapshots import ask_for_due
from worker.claim import utc_now
from worker.supervise import supervise, worker_name
from worker.sweep import sweep

# Celery warns a root user because messages could carry pickles; ours are JSON and carry one id.
warnings.filterwarnings("ignore", category=SecurityWarning)

log = get_logger(__name__)
settings = get_settings()
app: Celery = make_celery(settings)
stopping = threading.Event()
"""Set when this worker is told to stop: the job in hand goes back in line."""


@app.task(name=TASK)
def work(job_id: str) -> None:
    """Do one job. The message carries the id and nothing else; a duplicate finds nothing to claim."""
    if not stopping.is_set():
        supervise(uuid.UUID(job_id), settings, stopping)


@setup_logging.connect
def _logging(**_: Any) -> None:
    configure_logging(settings)


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    stopping.set()


@worker_ready.connect
def _start_pulse(sender: Any, **_: Any) -> None:
    queue = Queue(next(iter(sender.app.amqp.queues.consume_from)))
    pulse.start(queue)


@worker_shutdown.connect
def _end_pulse(**_: Any) -> None:
    pulse.join()


class _Pulse:
    """Says that this worker is alive and sweeps, on a timer, until it stops."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def start(self, queue: Queue) -> None:
        self._thread = threading.Thread(target=self._beat, args=(queue,), daemon=True, name="pulse")
        self._thread.start()

    def join(self) -> None:
        stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _beat(self, queue: Queue) -> None:
        started = utc_now()
        beaten = started
        swept = started - timedelta(seconds=settings.sweep_seconds)
        parent = os.getppid()
        while True:
            now = utc_now()
            if now - beaten > timedelta(seconds=settings.stale_seconds / 2):
                swept = now  # this machine slept: whoever works on it gets a round to say so
            beaten = now
            if os.getppid() != parent:  # `arena worker` was killed; without it nobody would ever stop us
                os.kill(os.getpid(), signal.SIGTERM)
            try:
                with session_scope() as session:
                    _say_alive(session, queue, started=started, now=now)
                    if now - swept >= timedelta(seconds=settings.sweep_seconds):
                        sweep(session, now=now, stale_seconds=settings.stale_seconds)
                        if queue is Queue.IO:  # its workers do them; one question a round is enough
                            ask_for_due(session, now=now)
                            clear_broken_uploads(session, artifacts=settings.artifacts, now=now)
                        swept = now
            except UnavailableError as error:  # the database may come back
                log.warning("pulse_failed", reason=error.message)
            if stopping.wait(min(settings.pulse_seconds, settings.sweep_seconds)):
                break
        with session_scope() as session:
            session.execute(delete(Worker).where(Worker.name == worker_name()))


pulse = _Pulse()


def _say_alive(session: Session, queue: Queue, *, started: datetime, now: datetime) -> None:
    row = session.get(Worker, worker_name())
    if row is None:
        session.add(
            Worker(name=worker_name(), queue=queue, device=settings.device, started_at=started, heartbeat_at=now)
        )
    else:
        row.heartbeat_at = now
