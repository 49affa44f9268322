"""``/metrics`` for Prometheus, and the middleware that times requests. One process, one set of counters."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import meters
from app.domain.errors import ForbiddenError, UnavailableError
from app.domain.terms import JobKind, JobState, Role, TokenScope
from app.queries.metrics import levels
from app.web.clients import SentDep, allow, token_holder
from app.web.deps import DatabaseDep, NowDep, SessionTokenDep, if_signed_in, required
from app.web.limits import LimitsDep
from app.web.live import LiveHub

router = APIRouter()

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class MeterMiddleware:
    """Counts every request by the pattern of its route and times it until its response begins."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; streams pass through unbuffered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in _METHODS else "other"
                route = _pattern(scope)
                meters.REQUESTS.labels(method, route, message["status"]).inc()
                meters.SECONDS.labels(method, route).observe(time.perf_counter() - begun)
            await send(message)

        await self.app(scope, receive, send_and_count)


def _pattern(scope: Scope) -> str:
    """The route's pattern, never the path itself: that may hold ids and the tokens of links."""
    return getattr(scope.get("route"), "path", None) or ("/static" if scope["path"].startswith("/static/") else "none")


def may_read(
    request: Request,
    sent: SentDep,
    database: DatabaseDep,
    limits: LimitsDep,
    now: NowDep,
    session_token: SessionTokenDep,
) -> None:
    """A token with the scope ``metrics``, or a signed-in admin.

    Raises:
        SignInRequiredError: neither a valid token nor a session.
        ForbiddenError: a token without the scope, or a rater's session.
    """
    if sent is not None:
        allow(token_holder(sent, database, limits, now), TokenScope.METRICS)
    elif session_token:
        if required(if_signed_in(request, session_token, database, now)).role is not Role.ADMIN:
            raise ForbiddenError("Metrics are for admins and for tokens with the scope “metrics”.")
    else:
        allow(token_holder(None, database, limits, now), TokenScope.METRICS)


@router.get("/metrics")
def metrics(request: Request, database: DatabaseDep, now: NowDep, _: Annotated[None, Depends(may_read)]) -> Response:
    """Counters of this process, then levels read from the database."""
    registry = CollectorRegistry()
    up = Gauge("arena_database_up", "Whether the levels below could be read.", registry=registry)
    streams = Gauge("arena_live_streams", "Pages that listen for live hints, in this process.", registry=registry)
    hub: LiveHub = request.app.state.live
    streams.set(hub.open_streams)
    try:
        with database.session_scope(write=False) as session:
            now_there = levels(session, now=now)
    except (UnavailableError, SQLAlchemyError):
        up.set(0)
    else:
        up.set(1)
        Gauge("arena_open_ballots", "Ballots shown and not yet answered.", registry=registry).set(
            now_there.open_ballots
        )
        jobs = Gauge("arena_jobs", "Jobs by kind and state.", ["kind", "state"], registry=registry)
        for kind in JobKind:
            for state in JobState:
                jobs.labels(kind.value, state.value).set(now_there.jobs.get((kind, state), 0))
        beats = Gauge(
            "arena_worker_heartbeat_age_seconds", "Since the freshest heartbeat of a worker of the queue.", ["queue"],
            registry=registry,
        )  # fmt: skip
        for queue, age in now_there.heartbeat_age.items():
            beats.labels(queue.value).set(age)
    text = generate_latest(meters.REGISTRY) + generate_latest(registry)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})
