"""Live hints: one poller a process reads new events; each open page gets a topic and an id, nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from app.db import Database
from app.domain.errors import UnavailableError
from app.log import get_logger
from app.models import Event
from app.web.deps import ReadDep, signed_in

log = get_logger(__name__)
router = APIRouter()

STREAM_SECONDS = 600.0
"""A stream ends after this long and the browser connects again, so that no forgotten page holds one for ever."""
_KEEP_ALIVE_SECONDS = 15.0
_MOST = 1000
_WINDOW = 200


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
    _pages: set["asyncio.Queue[Hint | None]"] = field(default_factory=set)
    """Those of them that a page reads; the canary script listens too."""
    _known: set[int] | None = None
    """Ids in the window at the last turn; `None` before the first."""
    _told: set[int] = field(default_factory=set)
    """Ids that a new stream found by itself since the last turn: pages know of them, so it matters if they vanish."""

    async def run(self) -> None:
        """Poll until cancelled. A database that is away is asked again at the next turn."""
        try:
            while True:
                try:
                    await self._turn()
                except (UnavailableError, SQLAlchemyError) as error:
                    log.warning("live_poll_failed", reason=type(error).__name__)
                await asyncio.sleep(self.poll_seconds)
        finally:
            for stream in self._streams:
                stream.put_nowait(None)

    async def _turn(self) -> None:
        """Hand out what is new.

        Numbers are given before the commit, so a smaller one may appear later: each turn looks back over a
        window and passes over what was there before.
        """
        since = None if self._known is None else max(self._known, default=0) - _WINDOW
        told, self._told = self._told, set()
        hints = await run_in_threadpool(self.since, since)
        known, self._known = self._known, {hint.id for hint in hints}
        fresh = [hint for hint in hints if hint.id not in known] if known is not None else []
        if since is not None and known is not None and any(id_ > since for id_ in (known | told) - self._known):
            # Simulated votes were removed with their hints. Pages that connect again fetch everything anew.
            for stream in self._streams:
                stream.put_nowait(None)
        for hint in fresh:
            for stream in self._streams:
                stream.put_nowait(hint)

    def since(self, last: int | None) -> list[Hint]:
        """Events after an id, oldest first; the newest few without one."""
        with self.database.session_scope(write=False) as session:
            if last is None:
                last = (session.scalar(select(func.max(Event.id))) or 0) - _WINDOW
            found = session.scalars(select(Event).where(Event.id > last).order_by(Event.id).limit(_MOST))
            return [Hint(event.id, event.topic, str(event.subject_id)) for event in found]

    def tell(self, missed: list[Hint]) -> None:
        """A stream has told its page these hints, which the poller may not have seen yet."""
        self._told |= {hint.id for hint in missed}

    @property
    def open_streams(self) -> int:
        """How many pages listen at this moment."""
        return len(self._pages)

    @contextlib.contextmanager
    def subscribe(self, *, page: bool = False) -> "Iterator[asyncio.Queue[Hint | None]]":
        """A queue of hints for one stream, of a page or of the server's own; ``None`` ends it."""
        queue: asyncio.Queue[Hint | None] = asyncio.Queue()
        self._streams.add(queue)
        if page:
            self._pages.add(queue)
        try:
            yield queue
        finally:
            self._streams.discard(queue)
            self._pages.discard(queue)


def stream_start(session: ReadDep, last_event_id: Annotated[int | None, Header()] = None) -> int:
    """The event after which a stream tells: where a broken one ended, else the newest.

    Asked before the browser learns that it is connected. It fetches then, and what happens between that fetch and
    our listening would be lost.
    """
    return last_event_id or session.scalar(select(func.max(Event.id))) or 0


@router.get("/live", response_class=EventSourceResponse, dependencies=[Depends(signed_in)])
async def live(request: Request, start: Annotated[int, Depends(stream_start)]) -> AsyncIterator[ServerSentEvent]:
    """Hints from now on, or from where a broken stream ended."""
    hub: LiveHub = request.app.state.live
    with hub.subscribe(page=True) as hints:
        missed = await run_in_threadpool(hub.since, start)
        hub.tell(missed)
        for hint in missed:
            yield _event(hint)
        sent = {hint.id for hint in missed}
        deadline = asyncio.get_running_loop().time() + STREAM_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            try:
                next_hint = await asyncio.wait_for(hints.get(), _KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield ServerSentEvent(comment="still here")
                continue
            if next_hint is None:
                return
            if next_hint.id not in sent:
                yield _event(next_hint)


def _event(hint: Hint) -> ServerSentEvent:
    return ServerSentEvent(event=f"{hint.topic}-changed", raw_data=hint.subject_id, id=str(hint.id))
