"""Raters who vote as fast as the server answers, through the pages that people use."""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from app.bench.client import Browser
from app.bench.server import BARE
from app.domain.errors import UnavailableError
from app.web.deps import COOKIE

_BALLOT = re.compile(rb'name="ballot_id" value="([0-9a-f-]{36})"')
_CHOICES = ("a", "b", "tie", "a", "b", "both_bad")
_AGAIN_SECONDS = 0.05


@dataclass
class Rater:
    """One person: what they were shown, and what the server said it has stored."""

    browser: Browser
    page: str
    ballot: str = ""
    acknowledged: dict[uuid.UUID, str] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=lambda: {"issue": [], "cast": [], "bare": []})

    async def read(self) -> bool:
        """Fetch the page; whether there is a ballot on it.

        Raises:
            UnavailableError: the server answered with an error.
        """
        status, body = await self._timed("issue", lambda: self.browser.get(self.page))
        _expect(status, HTTPStatus.OK, body)
        found = _BALLOT.search(body.partition(b'class="choices"')[2])
        self.ballot = found[1].decode() if found else ""
        return bool(found)

    async def vote(self) -> None:
        """Choose; sent again after a lost connection, it is the same choice."""
        choice = _CHOICES[len(self.acknowledged) % len(_CHOICES)]
        status, body = await self._timed(
            "cast", lambda: self.browser.post(self.page, f"ballot_id={self.ballot}&choice={choice}")
        )
        _expect(status, HTTPStatus.SEE_OTHER, body)
        self.acknowledged[uuid.UUID(self.ballot)] = choice
        self.ballot = ""

    async def insert(self) -> None:
        """The bare insert that a vote is compared with."""
        status, body = await self._timed("bare", lambda: self.browser.post(BARE))
        _expect(status, HTTPStatus.NO_CONTENT, body)

    async def _timed(self, what: str, ask: Callable[[], Awaitable[tuple[int, bytes]]]) -> tuple[int, bytes]:
        start = time.perf_counter()
        answer = await ask()
        self.times[what].append(time.perf_counter() - start)
        return answer


def _expect(status: int, wanted: HTTPStatus, body: bytes) -> None:
    if status != wanted:
        words = " ".join(re.sub(r"<[^>]*>", " ", body.decode(errors="replace")).split())[-200:]
        raise UnavailableError(f"The server of the bench answered {status} where {wanted.value} was due.", words)


def raters_of(port: int, batch_id: uuid.UUID, tokens: tuple[str, ...]) -> list[Rater]:
    """One rater for each session token."""
    return [Rater(Browser(port, f"{COOKIE}={token}"), f"/vote/{batch_id}") for token in tokens]


@dataclass
class Countdown:
    """How many votes may still be begun. ``halfway`` is set when half of them are acknowledged."""

    left: int
    halfway: asyncio.Event = field(default_factory=asyncio.Event)
    total: int = field(init=False)
    done: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.total = self.left

    def take(self) -> bool:
        """Begin one, if there is one left."""
        self.left -= 1
        return self.left >= 0

    def finish(self) -> None:
        """One more is acknowledged."""
        self.done += 1
        if 2 * self.done >= self.total:
            self.halfway.set()


async def freely(raters: list[Rater], votes: int, *, on_half: Callable[[], None] | None = None) -> float:
    """Everybody reads and votes at their own pace, until so many votes are acknowledged; returns the seconds it took.

    ``on_half`` is called (in a thread) in the middle of it, and raters try again where it takes the server away.
    """
    count, start = Countdown(votes), time.perf_counter()

    async def one(rater: Rater) -> None:
        while count.take():
            if not rater.ballot and not await _stubborn(rater.read, on_half is not None):
                return
            await _stubborn(rater.vote, on_half is not None)
            count.finish()

    async def disturb() -> None:
        await count.halfway.wait()
        if on_half is not None:
            await asyncio.to_thread(on_half)

    voting = [asyncio.create_task(one(rater)) for rater in raters]
    disturbing = asyncio.create_task(disturb())
    await asyncio.gather(*voting)
    count.halfway.set()
    await disturbing
    return time.perf_counter() - start


async def _stubborn(act: Callable[[], Awaitable[bool | None]], again: bool) -> bool | None:  # noqa: FBT001
    """Do it, and again for as long as nobody answers."""
    while True:
        try:
            return await act()
        except (OSError, EOFError) as error:
            if not again:
                raise UnavailableError(
                    "The server of the bench closed a connection in the middle.", str(error)
                ) from error
            await asyncio.sleep(_AGAIN_SECONDS)


async def in_step(raters: list[Rater], rounds: int) -> dict[str, float]:
    """All read, then all vote at once, then all do the bare insert at once; the seconds that each kind took in all.

    In turns and on the same connections, so that whatever slows the machine down slows both alike.
    """
    seconds = {"vote": 0.0, "bare": 0.0}
    for _ in range(rounds):
        ready = [rater for rater in raters if rater.ballot or await rater.read()]
        for what in ("vote", "bare"):
            start = time.perf_counter()
            await asyncio.gather(*(rater.vote() if what == "vote" else rater.insert() for rater in ready))
            seconds[what] += time.perf_counter() - start
    return seconds
