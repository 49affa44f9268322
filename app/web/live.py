"""Live hints: one poller a process reads new events; each open page gets a topic and an id, nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import func, select
from starlette.concurrency import run_in_threadpool

from app.db import Database
from app.domain.errors import UnavailableError
from app.log import get_logger
from app.models import Event
from app.web.deps import signed_in

log = get_logger(__name__)
router = APIRouter()

STREAM_SECONDS = 600.0
"""A stream ends after this long and the browser connects again, so that no forgotten page holds one for ever."""
_KEEP_ALIVE_SECONDS = 15.0
_MOST = 1000


@dataclass(frozen=True)
class Hint:
    """Something of this topic and subject changed."""

    id: int
    topic: str
    subject_id: str


@dataclass(eq=False)
class LiveHub:
    """Fans new events out to the open streams of this process."""

    database: Database
    poll_seconds: float
    _streams: set["asyncio.Queue[Hint | None]"] = field(default_factory=set)

    async def run(self) -> None:
        """Poll until cancelled. A database that is away is asked again at the next turn."""
        last: int | None = None
        try:
            while True:
                try:
                    last = await self._turn(last)
                except UnavailableError as error:
                    log.warning("live_poll_failed", reason=error.message)
                await asyncio.sleep(self.poll_seconds)
        finally:
            for stream in self._streams:
                stream.put_nowait(None)

    async def _turn(self, last: int | None) -> int | None:
        if last is None:
            return await run_in_threadpool(self.newest)
        if not self._streams:  # nobody listens: only keep up
            return await run_in_threadpool(self.newest)
        hints = await run_in_threadpool(self.since, last)
        for hint in hints:
            for stream in self._streams:
                stream.put_nowait(hint)
        return hints[-1].id if hints else last

    def newest(self) -> int:
        """Id of the newest event; 0 when there is none."""
        with self.database.session_scope(write=False) as session:
            return session.scalar(select(func.max(Event.id))) or 0

    def since(self, last: int) -> list[Hint]:
        """Events after an id, oldest first."""
        with self.database.session_scope(write=False) as session:
            found = session.scalars(select(Event).where(Event.id > last).order_by(Event.id).limit(_MOST))
            return [Hint(event.id, event.topic, str(event.subject_id)) for event in found]

    @contextlib.contextmanager
    def subscribe(self) -> "Iterator[asyncio.Queue[Hint | None]]":
        """A queue of hints for one stream; ``None`` ends it."""
        queue: asyncio.Queue[Hint | None] = asyncio.Queue()
        self._streams.add(queue)
        try:
            yield queue
        finally:
            self._streams.discard(queue)


@router.get("/live", response_class=EventSourceResponse, dependencies=[Depends(signed_in)])
async def live(
    request: Request, last_event_id: Annotated[int | None, Header()] = None
) -> AsyncIterator[ServerSentEvent]:
    """Hints from now on, or from where a broken stream ended."""
    hub: LiveHub = request.app.state.live
    with hub.subscribe() as hints:
        sent = last_event_id or 0
        missed = await run_in_threadpool(hub.since, last_event_id) if last_event_id else []
        for hint in missed:
            sent = hint.id
            yield _event(hint)
        deadline = asyncio.get_running_loop().time() + STREAM_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            try:
                next_hint = await asyncio.wait_for(hints.get(), _KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield ServerSentEvent(comment="still here")
                continue
            if next_hint is None:
                return
            if next_hint.id > sent:
                yield _event(next_hint)


def _event(hint: Hint) -> ServerSentEvent:
    return ServerSentEvent(event=f"{hint.topic}-changed", raw_data=hint.subject_id, id=str(hint.id))
