"""How fast one model may be asked: calls in flight, pauses that the provider asks for, and waits after a failure.

Time is an argument and nothing waits here: ``take`` says how long to wait, and whoever sends does the waiting.
"""

import random
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.providers.calls import Limit, RateLimits
from app.providers.errors import ProviderError

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds after a first failure, doubled with each further one."""

BUSY = 0.05
"""Seconds to look again when all places are taken."""

_TURN = 0.5
"""Share of a wait that is drawn, so that callers who failed together do not come back together."""


def backoff(error: ProviderError, attempt: int, rng: random.Random, first: float = FIRST_WAIT) -> float:
    """Seconds to wait after the ``attempt``-th failure of a call (from 1): at least what the provider asks for."""
    wait = min(first * 2.0 ** min(attempt - 1, 10), LONGEST_WAIT)
    drawn = wait * (1 - _TURN * rng.random())
    return max(drawn, error.said.retry_after or 0.0)


@dataclass
class Pace:
    """The pace of one model at one provider, shared by the threads that ask it.

    It begins with ``most`` calls in flight, halves them when the provider says that it is too much, and grows back by
    one for as many replies as are in flight.
    """

    most: int = 4
    _allowed: float = field(init=False)
    _in_flight: int = 0
    _not_before: datetime | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Start at full pace."""
        self._allowed = float(self.most)

    @property
    def in_flight(self) -> int:
        """Places taken now."""
        with self._lock:
            return self._in_flight

    @property
    def allowed(self) -> int:
        """Places there are now."""
        with self._lock:
            return int(self._allowed)

    def take(self, now: datetime) -> float:
        """Take a place: 0 when it is taken, else seconds to wait before asking again."""
        with self._lock:
            if self._not_before is not None and now < self._not_before:
                return (self._not_before - now).total_seconds()
            if self._in_flight >= int(self._allowed):
                return BUSY
            self._in_flight += 1
            return 0.0

    def replied(self, limits: RateLimits | None) -> None:
        """Give the place back after a reply, and heed what it says about limits."""
        with self._lock:
            self._in_flight -= 1
            self._allowed = min(float(self.most), self._allowed + 1 / self._allowed)
            for limit in (limits.requests, limits.input_tokens, limits.output_tokens) if limits else ():
                self._heed(limit)

    def failed(self, error: ProviderError, now: datetime) -> None:
        """Give the place back after a failure; slow down if the provider has too much to do."""
        with self._lock:
            self._in_flight -= 1
            if error.said.retry_after is not None:
                self._pause_until(now + timedelta(seconds=error.said.retry_after))
            if error.slows:
                self._allowed = max(1.0, self._allowed / 2)

    def give_back(self) -> None:
        """Give a place back that nothing was sent from."""
        with self._lock:
            self._in_flight -= 1

    def _heed(self, limit: Limit) -> None:
        if limit.remaining == 0 and limit.resets_at is not None:
            self._pause_until(limit.resets_at)

    def _pause_until(self, moment: datetime) -> None:
        if self._not_before is None or moment > self._not_before:
            self._not_before = moment
