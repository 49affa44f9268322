"""Stands in for ``worker.child``: ``python -m tests.fakes.child_process JOB ATTEMPT WORKER``, without torch.

``FAKE_CHILD`` says what becomes of it. It leaves its process id in ``$ARENA_HOME/child`` when it is ready.
"""

import os
import signal
import sys
import uuid
from pathlib import Path


def main(job_id: str, attempt: str) -> int:
    mode = os.environ["FAKE_CHILD"]
    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stops.append(number))
    ready = Path(os.environ["ARENA_HOME"]) / "child"
    ready.with_suffix(".part").write_text(str(os.getpid()), encoding="utf-8")
    ready.with_suffix(".part").rename(ready)
    if mode == "crashes":
        return 3
    if mode == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "does its work":
        _end(uuid.UUID(job_id), int(attempt))
        return 0
    while not stops:  # works until it is told to stop
        signal.pause()
    return 0


def _end(job_id: uuid.UUID, attempt: int) -> None:
    from app.db import session_scope  # noqa: PLC0415 (the others need not wait for it)
    from app.domain.terms import JobKind, JobState  # noqa: PLC0415
    from worker.claim import Claim  # noqa: PLC0415

    with session_scope() as session:
        Claim(job_id, attempt, JobKind.GENERATE, uuid.uuid4()).end(session, JobState.DONE)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
