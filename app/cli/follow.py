"""Following a job from the terminal: a bar that moves, and a worker of our own when none runs."""

import contextlib
import importlib.util
import os
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime

from rich.progress import TimeRemainingColumn

from app import jobs
from app.cli.output import console, progress_bar
from app.config import ROOT, get_settings
from app.db import session_scope
from app.domain.errors import ArenaError, UnavailableError
from app.domain.terms import JobState, Queue
from app.models import Job
from app.queries.jobs import JobView, job_view, worker_alive
from app.setup.extras import install_extra
from app.web.filters import roughly

_LOOK_SECONDS = 0.3


class JobEndedError(ArenaError):
    """The job that was followed failed or was cancelled."""


def follow(job_id: uuid.UUID | None, *, shown: bool = True) -> None:
    """Show a job until it ends. Ctrl-C asks it to stop; what it stored is kept. ``shown``: with a bar on a terminal.

    Raises:
        JobEndedError: it failed or was cancelled; says why.
        UnavailableError: the worker that this command brought has ended.
    """
    if job_id is None:
        return
    with contextlib.closing(_OwnWorker()) as own_worker, progress_bar(TimeRemainingColumn(), shown=shown) as bar:
        task = bar.add_task("waiting for a worker", total=None)
        interrupted = False
        told = Tenths()
        job = _look(job_id)
        while job.unfinished:
            try:
                own_worker.start_if_none_runs()
                bar.update(task, description=job.message or str(job.state), completed=job.done, total=job.total or None)
                if shown and not console.is_terminal and (line := told.line(job)):
                    console.print(line, highlight=False, markup=False, soft_wrap=True)
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


class Tenths:
    """Lines for a log, where a bar cannot move: one for each tenth of the work that is done."""

    def __init__(self) -> None:
        self._told = 0

    def line(self, job: JobView) -> str | None:
        """What to print now; ``None`` where nothing new is to be told. A job that begins again is told anew."""
        reached = 10 * job.done // job.total if job.total else 0
        if reached == self._told:
            return None
        self._told = reached
        left = f", {roughly(job.eta_seconds)} left" if job.eta_seconds and reached < 10 else ""  # noqa: PLR2004
        return f"{job.title}: {job.message or f'{job.done} of {job.total}'}{left}"


def _look(job_id: uuid.UUID) -> JobView:
    with session_scope(write=False) as session:
        return job_view(session.get_one(Job, job_id))


class _OwnWorker:
    """A worker for as long as we follow. Where one runs already it is left to do the work."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start_if_none_runs(self) -> None:
        """Look again whenever we look at the job: a worker may die, and a killed one seems alive for a while.

        Both queues are looked after, since a training may wait for its base model.
        """
        if self._process is not None:
            if self._process.poll() is not None:
                raise UnavailableError(
                    "The worker of this command has ended; the lines above say why. The job stays in line for the next "
                    "one: ./arena worker."
                )
            return
        missing = _queues_without_worker()
        if missing:
            ensure_training()
            console.print("No worker runs, so this command brings its own.", highlight=False)
            only = ["--queue", missing[0].value] if len(missing) == 1 else []
            self._process = subprocess.Popen(  # noqa: S603 (our own module, no shell)
                [sys.executable, "-m", "app", "worker", "--parent", str(os.getpid()), *only],
                cwd=ROOT,
                start_new_session=True,
            )

    def close(self) -> None:
        """Stop it; it gives back what it has in hand."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def _queues_without_worker() -> list[Queue]:
    now, stale_seconds = datetime.now(UTC), get_settings().stale_seconds
    with session_scope(write=False) as session:
        return [
            queue for queue in Queue if not worker_alive(session, queue=queue, now=now, stale_seconds=stale_seconds)
        ]


def ensure_training() -> None:
    """Install the training extra if it is not there yet; takes a minute or two once."""
    if all(importlib.util.find_spec(name) for name in ("torch", "transformers", "peft", "gguf")):
        return  # installed by us or by somebody who knows better
    install_extra("train", get_settings().home / "setup.log", lambda step: console.print(step, highlight=False))
