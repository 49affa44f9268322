"""Following a job from the terminal: a bar that moves, and a worker of our own when none runs."""

import contextlib
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from app import jobs
from app.cli.output import console
from app.config import ROOT, get_settings
from app.db import session_scope
from app.domain.errors import ArenaError
from app.domain.terms import JobState, Queue
from app.models import Job
from app.queries.jobs import JobView, job_view, worker_alive
from app.setup.extras import install_extra

_LOOK_SECONDS = 0.3


class JobEndedError(ArenaError):
    """The job that was followed failed or was cancelled."""


def follow(job_id: uuid.UUID | None) -> None:
    """Show a job until it ends. Ctrl-C asks it to stop; what it stored is kept.

    Raises:
        JobEndedError: it failed or was cancelled; says why.
    """
    if job_id is None:
        return
    with _worker_for(Queue.GPU), _bar() as bar:
        task = bar.add_task("waiting for a worker", total=None)
        interrupted = False
        job = _look(job_id)
        while job.unfinished:
            try:
                bar.update(task, description=job.message or str(job.state), completed=job.done, total=job.total or None)
                time.sleep(_LOOK_SECONDS)
                job = _look(job_id)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                bar.console.print("Stopping after the step in hand; press Ctrl-C again to leave at once.")
                with session_scope() as session:
                    jobs.request_cancel(session, job_id, now=datetime.now(UTC))
    if job.state is JobState.FAILED:
        raise JobEndedError(f"{job.title}: {job.error}")
    if job.state is JobState.CANCELLED:
        raise JobEndedError(f"{job.title}: cancelled. What it stored is kept.")


def _look(job_id: uuid.UUID) -> JobView:
    with session_scope(write=False) as session:
        return job_view(session.get_one(Job, job_id))


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(), console=console, disable=not console.is_terminal,
    )  # fmt: skip


@contextlib.contextmanager
def _worker_for(queue: Queue) -> Iterator[None]:
    """Nothing when a worker runs; otherwise one for as long as we follow."""
    with session_scope(write=False) as session:
        now = datetime.now(UTC)
        alive = worker_alive(session, queue=queue, now=now, stale_seconds=get_settings().stale_seconds)
    if alive:
        yield
        return
    ensure_training()
    console.print("No worker runs, so this command brings its own.", highlight=False)
    process = subprocess.Popen(  # noqa: S603 (our own module, no shell)
        [sys.executable, "-m", "app", "worker", "--queue", queue.value], cwd=ROOT, start_new_session=True
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=timedelta(minutes=1).total_seconds())


def ensure_training() -> None:
    """Install the training extra if it is not there yet; takes a minute or two once."""
    install_extra("train", get_settings().home / "setup.log", lambda step: console.print(step, highlight=False))
