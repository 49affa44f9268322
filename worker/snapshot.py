"""Job: read every vote of an eval batch once, so that pages need not."""

from collections.abc import Callable

from app.db import session_scope
from app.services.snapshots import make
from worker.claim import Claim, utc_now


def run(claim: Claim, should_stop: Callable[[], bool]) -> None:  # noqa: ARG001 - it takes seconds
    """Make the snapshot of the eval batch that the job is about."""
    with session_scope() as session:
        claim.hold(session)
        make(session, claim.subject_id, now=utc_now())
