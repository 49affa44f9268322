"""The process of one job: ``python -m worker.child JOB ATTEMPT WORKER``. The outermost step of all background work."""

import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from app.config import get_settings
from app.db import session_scope
from app.domain.errors import ArenaError, DatabaseAwayError
from app.domain.terms import JobKind, JobState
from app.log import configure_logging, get_logger
from app.models import Job
from training.errors import Cancelled, TrainingError
from worker import fetch, generate, intake, judge, package, perplexity, snapshot, train, trial
from worker.claim import Claim, LostJobError

if TYPE_CHECKING:
    from types import FrameType

log = get_logger(__name__)

Stop = Callable[[], bool]
WORK: dict[JobKind, Callable[[Claim, Stop], None]] = {
    JobKind.FETCH_BASE_MODEL: fetch.run,
    JobKind.TRAIN: train.run,
    JobKind.GENERATE: generate.run,
    JobKind.JUDGE: judge.run,
    JobKind.SNAPSHOT: snapshot.run,
    JobKind.INTAKE: intake.run,
    JobKind.PERPLEXITY: perplexity.run,
    JobKind.PACKAGE: package.run,
    JobKind.TRIAL: trial.run,
}
_ASK_SECONDS = 0.5


class StopSignal:
    """Tells the work to stop: the worker is going down, or somebody cancelled the job."""

    def __init__(self, claim: Claim) -> None:
        self.going_down = threading.Event()
        self._claim = claim
        self._asked_at = 0.0
        self._cancelled = False
        signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, _number: int, _frame: "FrameType | None") -> None:
        self.going_down.set()

    def __call__(self) -> bool:
        """Cheap enough to ask at every step: the database is asked twice a second at most."""
        if time.monotonic() - self._asked_at > _ASK_SECONDS:
            with suppress(DatabaseAwayError):  # then the last answer holds until it is back
                self._cancelled = self._claim.cancel_requested()
            self._asked_at = time.monotonic()
        return self.going_down.is_set() or self._cancelled


def main(job_id: uuid.UUID, attempt: int, worker: int) -> int:
    """Do the work for the worker with this process id and record its end. Exit code 0: the end is recorded."""
    settings = get_settings()
    configure_logging(settings)
    structlog.contextvars.bind_contextvars(job_id=str(job_id))
    _die_with(worker)
    with session_scope(write=False) as session:
        job = session.get_one(Job, job_id)
        claim = Claim(job.id, attempt, job.kind, job.subject_id)
    stop = StopSignal(claim)
    state, error = JobState.DONE, ""
    try:
        WORK[claim.kind](claim, stop)
    except LostJobError:
        log.warning("job_lost")
        return 0
    except Cancelled:
        if stop.going_down.is_set():
            return 0  # the watching side puts the job back in line
        state = JobState.CANCELLED
    except DatabaseAwayError as failure:
        log.warning("job_interrupted", reason=failure.detail)
        return 1  # the watching side puts the job back in line
    except (ArenaError, TrainingError) as failure:
        state, error = JobState.FAILED, failure.message
    except MemoryError:
        state, error = JobState.FAILED, "The machine ran out of memory. Use a smaller batch or base model."
    except Exception as failure:
        log.exception("job_failed")
        state, error = JobState.FAILED, f"Unexpected {type(failure).__name__}: {failure}"
    try:
        with session_scope() as session:
            claim.end(session, state, error=error)
    except LostJobError:
        log.warning("job_lost")
    return 0


def _die_with(parent: int) -> None:
    """A killed worker must not leave this process writing on: its job will be given to another."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


if __name__ == "__main__":
    sys.exit(main(uuid.UUID(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
