"""Many responses from one server: several requests at a time, asked again after a failure that passes, and stoppable."""

import queue
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
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

_Asked = queue.SimpleQueue[Ask | None]
_Came = queue.SimpleQueue[tuple[Ask, Outcome]]


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
        todo, later = deque(asks), list[tuple[datetime, Ask]]()
        failures, pace = Counter[str](), Pace(self._most)
        asked, came = _Asked(), _Came()
        threads = min(self._most, len(asks))
        for _ in range(threads):
            threading.Thread(target=self._ask_all, args=(asked, came), daemon=True, name="generation").start()
        flying, trouble = 0, None
        try:
            while flying or (trouble is None and (todo or later)):
                if should_stop():
                    raise Cancelled("generation was cancelled; the responses that were finished are kept")
                now = utc_now()
                todo.extend(ask for when, ask in later if when <= now)
                later = [(when, ask) for when, ask in later if when > now]
                while todo and trouble is None and pace.take(now) == 0:
                    asked.put(todo.popleft())
                    flying += 1
                done: list[tuple[Ask, Completion]] = []
                for ask, outcome in _arrived(came):
                    flying -= 1
                    if isinstance(outcome, Completion):
                        pace.replied(outcome.limits)
                        done.append((ask, outcome))
                    elif outcome is None:
                        raise RuntimeError("a thread that waited for a reply ended without one")
                    else:
                        now = utc_now()
                        pace.failed(outcome, now)
                        failures[ask.key] += 1
                        if outcome.passing and failures[ask.key] < _TRIES:
                            wait = backoff(outcome, failures[ask.key], self._rng, self._first_wait)
                            later.append((now + timedelta(seconds=wait), ask))
                        else:
                            trouble = trouble or outcome
                if done:
                    yield done
        finally:
            for _ in range(threads):
                asked.put(None)
        if trouble is not None:
            raise trouble

    def _ask_all(self, asked: _Asked, came: _Came) -> None:
        """What each thread does until there is nothing more to ask."""
        while (ask := asked.get()) is not None:
            outcome: Outcome = None
            try:
                outcome = self._server.complete(ask)
            except ProviderError as error:
                outcome = error
            finally:
                came.put((ask, outcome))


def _arrived(came: _Came) -> Iterator[tuple[Ask, Outcome]]:
    """What has come by now, after a short wait for the first."""
    wait = _LOOK_SECONDS
    with suppress(queue.Empty):
        while True:
            yield came.get(timeout=wait) if wait else came.get_nowait()
            wait = 0.0
