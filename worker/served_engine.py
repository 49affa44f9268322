"""Many responses from one server: several requests at a time, asked again after what passes, and stoppable."""

import queue
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.providers.errors import ProviderError
from app.providers.model_server import Ask, Completion, ModelServer
from app.providers.pacing import Pace, backoff
from training.errors import Cancelled
from worker.claim import utc_now

_LOOK_SECONDS = 0.2
"""How often it looks whether somebody asked it to stop while it waits for replies."""
_TRIES = 8
"""Of one response. With waits from a second on, doubled each time, a server may be away for two minutes."""

Outcome = Completion | ProviderError | None
"""``None``: a thread ended without one, which is a fault of ours."""


class ServedEngine:
    """Sends requests at the pace that the server bears; threads wait for the replies.

    The threads die with the process: a reply that hangs holds up neither a cancellation nor a worker that is told to
    stop. What was asked for and not yet received is asked for again next time; nobody stores it twice.
    """

    def __init__(self, server: ModelServer, *, most: int, first_wait: float, rng: random.Random) -> None:
        self._server, self._most, self._first_wait, self._rng = server, most, first_wait, rng

    def complete(
        self, asks: Sequence[Ask], should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[list[tuple[Ask, Completion]]]:
        """Yield responses as they come, those that came together in one list.

        Raises:
            ProviderError: one cannot be had, now or after several tries; what came until then and what was under way
                has been yielded.
            Cancelled: ``should_stop`` said so.
        """
        work = _Work(deque(asks), Pace(self._most), self._first_wait, self._rng)
        threads = min(self._most, len(asks))
        for _ in range(threads):
            threading.Thread(target=_ask_all, args=(self._server, work), daemon=True, name="generation").start()
        try:
            while work.goes_on:
                if should_stop():
                    raise Cancelled("generation was cancelled; the responses that were finished are kept")
                work.send(utc_now())
                done = list(work.arrived())
                if done:
                    yield done
        finally:
            for _ in range(threads):
                work.asked.put(None)
        if work.trouble is not None:
            raise work.trouble


@dataclass
class _Work:
    """What is to be asked, what is under way, and what waits for another try."""

    todo: deque[Ask]
    pace: Pace
    first_wait: float
    rng: random.Random
    later: list[tuple[datetime, Ask]] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    flying: int = 0
    trouble: ProviderError | None = None
    """Why no more is asked."""
    asked: queue.SimpleQueue[Ask | None] = field(default_factory=queue.SimpleQueue)
    came: queue.SimpleQueue[tuple[Ask, Outcome]] = field(default_factory=queue.SimpleQueue)

    @property
    def goes_on(self) -> bool:
        """Whether there is anything to wait for."""
        return self.flying > 0 or (self.trouble is None and bool(self.todo or self.later))

    def send(self, now: datetime) -> None:
        """Fill the places there are."""
        self.todo.extend(ask for when, ask in self.later if when <= now)
        self.later = [(when, ask) for when, ask in self.later if when > now]
        while self.todo and self.trouble is None and self.pace.take(now) == 0:
            self.asked.put(self.todo.popleft())
            self.flying += 1

    def arrived(self) -> Iterator[tuple[Ask, Completion]]:
        """What has come by now, after a short wait for the first."""
        wait = _LOOK_SECONDS
        with suppress(queue.Empty):
            while True:
                ask, outcome = self.came.get(timeout=wait) if wait else self.came.get_nowait()
                wait, self.flying = 0.0, self.flying - 1
                if isinstance(outcome, Completion):
                    self.pace.replied(outcome.limits)
                    yield ask, outcome
                elif outcome is None:
                    raise RuntimeError("a thread that waited for a reply ended without one")
                else:
                    self._failed(ask, outcome, utc_now())

    def _failed(self, ask: Ask, error: ProviderError, now: datetime) -> None:
        self.pace.failed(error, now)
        self.failures[ask.key] += 1
        if error.passing and self.failures[ask.key] < _TRIES:
            wait = backoff(error, self.failures[ask.key], self.rng, self.first_wait)
            self.later.append((now + timedelta(seconds=wait), ask))
        else:
            self.trouble = self.trouble or error


def _ask_all(server: ModelServer, work: _Work) -> None:
    """What each thread does until there is nothing more to ask."""
    while (ask := work.asked.get()) is not None:
        outcome: Outcome = None
        try:
            outcome = server.complete(ask)
        except ProviderError as error:
            outcome = error
        finally:
            work.came.put((ask, outcome))
