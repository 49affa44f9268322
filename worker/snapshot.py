"""Job: read every vote of an eval batch once, so that pages need not."""

from collections.abc import Callable

from app.db import session_scope
from app.services.snapshots import count, keep
from worker.claim import Claim, utc_now


def run(claim: Claim, should_stop: Callable[[], bool]) -> None:  # noqa: ARG001 - it takes seconds
    """Make the snapshot of the eval batch that the job is about."""
    with session_scope(write=False) as session:
        counted = count(session, claim.subject_id)
    with session_scope() as session:
        claim.hold(session)
        keep(session, counted, now=utc_now())
