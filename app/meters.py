"""Meters of this process for ``/metrics``: counted when a transaction is committed, never with a name or an id."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from sqlalchemy import event
from sqlalchemy.orm import Session

REGISTRY = CollectorRegistry()
"""One for the process. ``arena serve`` and ``arena up`` run one; more would each count for itself."""

ProcessCollector(registry=REGISTRY)
REQUESTS = Counter(
    "arena_http_requests", "Requests by method, pattern of the route and status.", ["method", "route", "status"],
    registry=REGISTRY,
)  # fmt: skip
SECONDS = Histogram(
    "arena_http_request_seconds", "Time until a response began.", ["method", "route"], registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
VOTES = Counter(
    "arena_votes", "What was done with ballots: cast, replayed, late, undone, skipped.", ["what"], registry=REGISTRY
)
BALLOTS = Counter(
    "arena_ballots", "Ballots issued, and expired so that their slot is free.", ["what"], registry=REGISTRY
)

_PENDING = "arena_pending_meters"

for _what in (
    "cast",
    "replayed",
    "late",
    "undone",
    "skipped",
):  # there from the start: a rate needs a zero before its one
    VOTES.labels(_what)
for _what in ("issued", "expired"):
    BALLOTS.labels(_what)


def count(session: Session, counter: Counter, what: str, by: int = 1) -> None:
    """Count something when the transaction commits; a rollback forgets it."""
    if by:
        session.info.setdefault(_PENDING, []).append((counter, what, by))


@event.listens_for(Session, "after_commit")
def _committed(session: Session) -> None:
    pending: list[tuple[Counter, str, int]] = session.info.pop(_PENDING, [])
    for counter, what, by in pending:
        counter.labels(what).inc(by)


@event.listens_for(Session, "after_soft_rollback")
def _rolled_back(session: Session, _previous: Any) -> None:
    session.info.pop(_PENDING, None)
