"""Job: ask a judge about an eval batch until it has seen all that it was asked to see, call by call or in batches."""

import random
import time
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.config import get_settings
from app.db import session_scope
from app.domain.terms import JudgingState
from app.models import Judge, Judging
from app.providers.calls import Provider, Reply
from app.providers.errors import ProviderError
from app.providers.pacing import Pace
from app.services import judging
from app.services.assignment import Rules
from app.services.judge_calls import Prepared
from app.services.judges import provider_of
from training.errors import Cancelled
from worker.claim import Claim, utc_now
from worker.judge_batches import ask_in_batches, finish_batches
from worker.judge_work import Work

_LOOK_SECONDS = 0.2
"""How often a judge that waits looks whether somebody asked it to stop."""
_WAITING_PER_PLACE = 2
"""Ballots that wait for another try, for each call at a time: where everything fails, not every ballot is tried."""


def run(claim: Claim, should_stop: Callable[[], bool]) -> None:
    """Ask for every verdict that is missing. What was said before is kept, whatever ends this.

    Raises:
        ProviderError: no call of this judge can succeed until a person does something.
        CapReachedError: the next call could take the spending over the cap.
        Cancelled: somebody asked to stop; calls in flight were waited for.
    """
    settings = get_settings()
    work = Work(claim, Rules.of(settings), should_stop, random.SystemRandom(), settings.judge_retry_seconds)
    _begin(work)
    try:
        with session_scope(write=False) as session:
            asked = session.get_one(Judging, claim.subject_id)
            provider = provider_of(session.get_one(Judge, asked.judge_id), settings)
            in_batches = asked.in_batches
        with closing(provider):
            # Calls of an earlier start may be in batches though this one goes call by call.
            finish_batches(work, provider, poll_seconds=settings.judge_poll_seconds)
            if in_batches:
                ask_in_batches(work, provider, poll_seconds=settings.judge_poll_seconds)
            else:
                _Calls(work, provider, Pace(settings.judge_concurrency)).ask_all()
    except (ProviderError, judging.CapReachedError) as error:
        work.end(JudgingState.STOPPED, trouble=error.trouble, message=error.message)
        raise
    except Cancelled:
        if claim.cancel_requested():
            work.end(JudgingState.STOPPED, message="Somebody stopped it. All verdicts so far are kept; it can go on.")
        raise
    work.end(JudgingState.DONE)


def _begin(work: Work) -> None:
    """Say that it runs, and give up calls of an earlier attempt whose replies nobody can fetch any more."""
    with session_scope() as session:
        work.claim.hold(session)
        judging.begin(work.judging(session))
        judging.recover(session, work.judging(session), now=utc_now())
        work.tell(session)


@dataclass
class _Calls:
    """Calls one by one: threads wait for replies, everything that touches the database happens in this one."""

    work: Work
    provider: Provider
    pace: Pace
    flying: dict[Future[Reply], Prepared] = field(default_factory=dict)
    waiting: dict[uuid.UUID, datetime] = field(default_factory=dict)
    """Ballots whose last call failed, and when each may be asked about again."""

    def ask_all(self) -> None:
        """Until nothing is missing. Whatever ends it, calls in flight are waited for: they are paid for."""
        with ThreadPoolExecutor(self.pace.most, thread_name_prefix="judge") as pool:
            try:
                while True:
                    self.work.check_stop()
                    if not self._send(pool) and not self.flying and not self.waiting:
                        break
                    self._collect()
            finally:
                while self.flying:
                    self._collect(patiently=True)

    def _send(self, pool: ThreadPoolExecutor) -> bool:
        """Fill the places there are; returns whether there may be more to send, now or when a pause is over."""
        now = utc_now()
        self.waiting = {ballot_id: when for ballot_id, when in self.waiting.items() if when > now}
        places, most_waiting = 0, _WAITING_PER_PLACE * self.pace.most
        while len(self.waiting) + places < most_waiting and self.pace.take(now) == 0:
            places += 1
        if not places:
            return True
        prepared = self.work.prepare(places, self.provider.body, self.waiting)
        for _ in range(places - len(prepared)):
            self.pace.give_back()
        for one in prepared:
            self.flying[pool.submit(self.provider.send, one.request)] = one
        if self.work.cap_reached and not self.flying and not self.waiting:
            self.work.stop_at_cap()
        return bool(prepared)

    def _collect(self, *, patiently: bool = False) -> None:
        """Store what has come back. ``patiently``: wait for a reply, and let no trouble end the waiting for others."""
        if not self.flying:
            time.sleep(_LOOK_SECONDS)  # every ballot that is left waits for its time, or the provider asked for a pause
            return
        done, _ = wait(self.flying, None if patiently else _LOOK_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            one = self.flying.pop(future)
            try:
                reply = future.result()
            except ProviderError as error:
                trouble = self._failed(one, error)
                if trouble is not None and not patiently:
                    raise trouble from error
            else:
                self.pace.replied(reply.limits)
                self.work.settle(one.call_id, reply)

    def _failed(self, one: Prepared, error: ProviderError) -> ProviderError | None:
        """Store a failure and when to try again; returns the trouble over which the judge has to stop."""
        now = utc_now()
        self.pace.failed(error, now)
        trouble = self.work.settle(one.call_id, error)
        if error.passing:
            seconds = self.work.backoff(error, self.work.failures[one.ballot_id])
            self.waiting[one.ballot_id] = now + timedelta(seconds=seconds)
        return trouble
