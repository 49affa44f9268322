"""Replies that do not arrive, without a clock: one hangs until the caller gives up, one breaks in the middle.

A gate holds replies back on purpose, so that a test can kill a caller while exactly these calls are in flight.
"""

import asyncio
import threading

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Hang(Response):
    """Nothing, until the caller hangs up."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - it sends nothing
        """Wait for the caller's patience to end."""
        await _hung_up(receive)


class Drop(Response):
    """Half a reply; the server then closes the connection, because the rest never comes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - nothing is read
        """Send headers that promise more than follows."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body[: len(self.body) // 2], "more_body": True})


class Gate:
    """Whether replies are let out. Those that it holds are done and paid for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._passes: int | None = None
        self._held: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def close(self, after: int = 0) -> None:
        """Let this many more replies out and hold the others."""
        with self._lock:
            self._passes = after

    def open(self) -> None:
        """Let all out, now and later."""
        with self._lock:
            self._passes = None
            held, self._held = self._held, []
        for loop, event in held:
            loop.call_soon_threadsafe(event.set)

    def wait_for(self, held: int, seconds: float) -> bool:
        """Whether so many replies are being held before the time is up."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._held) >= held, seconds)

    @property
    def held(self) -> int:
        """Replies that wait here, their callers still there."""
        with self._lock:
            return len(self._held)

    async def passes(self, receive: Receive) -> bool:
        """Wait until the reply may go out; False if its caller hung up before."""
        mine = (asyncio.get_running_loop(), asyncio.Event())
        with self._changed:
            if self._passes is None or self._passes > 0:
                self._passes = None if self._passes is None else self._passes - 1
                return True
            self._held.append(mine)
            self._changed.notify_all()
        gone, let_out = asyncio.ensure_future(_hung_up(receive)), asyncio.ensure_future(mine[1].wait())
        await asyncio.wait((gone, let_out), return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, let_out):
            task.cancel()
        with self._lock:
            if mine in self._held:
                self._held.remove(mine)
        return mine[1].is_set()


class Gated(Response):
    """A reply that goes out through a gate."""

    def __init__(self, reply: Response, gate: Gate) -> None:
        super().__init__()
        self._reply, self._gate = reply, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, then send."""
        if await self._gate.passes(receive):
            await self._reply(scope, receive, send)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
