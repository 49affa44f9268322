"""Calls of a judge in batches: handed in together, fetched when the provider has ended them, within a day.

A row is stored for every call before its batch is handed in, and the provider's id of the batch right after. A crash in
between is healed by looking through the provider's batches for the ids of our calls: nothing is paid for twice. One
batch is handed in at a time, so the calls whose batch is not known are all of the same one.
"""

import time
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TypeVar, cast

from sqlalchemy import func, select, update

from app.db import session_scope
from app.domain.errors import BadInputError
from app.domain.terms import CallState
from app.models import JudgeCall
from app.providers.calls import BatchProvider, BatchResult, Provider, takes_batches
from app.providers.errors import BadRequestError, ProviderError
from app.services.judge_calls import NOT_TOLD
from app.services.judging import never_sent, results_gone
from training.errors import Cancelled
from worker.claim import utc_now
from worker.judge_work import Work

MOST_CALLS = 1_000
"""Calls of one batch. A provider takes more; so many are lost to a wrong parameter at most."""
_LOOK_SECONDS = 0.2
_MOST_TRIES = 8
_CLOCKS_APART = timedelta(days=1)
"""How far the provider's clock and ours may be apart: a batch that is not found is paid for twice."""

T = TypeVar("T")


def finish_batches(work: Work, provider: Provider, *, poll_seconds: float) -> None:
    """Fetch what an earlier start has handed in.

    Raises:
        ProviderError: no call of this judge can succeed until a person does something.
        Cancelled: somebody asked to stop. What has not begun is called off, the rest is fetched at the next start.
    """
    if takes_batches(provider):
        batches = _Batches(work, cast("BatchProvider", provider), poll_seconds)
        batches.adopt()
        batches.fetch()


def ask_in_batches(work: Work, provider: Provider, *, poll_seconds: float) -> None:
    """Until nothing is missing. What an earlier start has handed in is fetched already.

    Raises:
        BadInputError: the provider takes no batches.
        ProviderError: no call of this judge can succeed until a person does something.
        CapReachedError: the next call could take the spending over the cap.
        Cancelled: somebody asked to stop. What has not begun is called off, the rest is fetched at the next start.
    """
    if not takes_batches(provider):
        raise BadInputError("This server takes no batches. Start the judge again without them; nothing was sent.")
    batches = _Batches(work, cast("BatchProvider", provider), poll_seconds)
    while batches.hand_in():
        batches.fetch()
        work.check_stop()


class _Batches:
    """Hands in and fetches."""

    def __init__(self, work: Work, provider: BatchProvider, poll_seconds: float) -> None:
        self._work = work
        self._provider = provider
        self._poll_seconds = poll_seconds
        self._failures = 0

    def adopt(self) -> None:
        """Find the batches of calls whose batch was handed in, perhaps, and not noted."""
        orphans, since = self._orphans()
        if not orphans or since is None:
            return
        known, ids = self._noted(), {call_id.hex for call_id in orphans}
        for batch in self._patiently(lambda: list(self._provider.batches(since - _CLOCKS_APART))):
            if batch.id in known or batch.total != len(orphans):  # others may use the same key
                continue
            self._wait_for(batch.id)
            if ids == {result.custom_id for result in self._results(batch.id)}:
                self._note(orphans, batch.id)
                return
        with session_scope() as session:
            self._work.claim.hold(session)
            never_sent(session, orphans, now=utc_now())

    def hand_in(self) -> bool:
        """One batch of what is missing; returns whether there was anything."""
        prepared = self._work.prepare(MOST_CALLS, self._provider.batch_body)
        if not prepared:
            if self._work.cap_reached:
                self._work.stop_at_cap()
            return False
        calls = [one.call_id for one in prepared]
        try:
            batch = self._provider.create_batch([(one.call_id.hex, one.request) for one in prepared])
        except ProviderError as error:
            if error.unknown:  # the next start looks whether it is there
                raise
            trouble = [self._work.settle(call_id, error, shared=True) for call_id in calls]
            if any(trouble):
                raise
            self._failures += 1
            self._pause(self._work.backoff(error, self._failures))
            return True
        self._failures = 0
        self._note(calls, batch.id)
        return True

    def fetch(self) -> None:
        """Wait for every batch that was handed in, and store its results."""
        for batch_id in self._noted(only_open=True):
            try:
                self._wait_for(batch_id)
                results = self._results(batch_id)
            except BadRequestError:  # results are kept for weeks, not for ever
                self._give_up(batch_id)
                continue
            except Cancelled:
                self._call_off(batch_id)
                raise
            trouble: ProviderError | None = None
            # Replies first: whether a refusal is about one call's texts shows by whether others went through.
            for result in sorted(results, key=lambda one: isinstance(one.outcome, ProviderError)):
                trouble = self._work.settle(uuid.UUID(hex=result.custom_id), result.outcome) or trouble
            if trouble is not None:
                raise trouble

    def _give_up(self, batch_id: str) -> None:
        with session_scope() as session:
            self._work.claim.hold(session)
            results_gone(session, self._work.judging(session), batch_id, now=utc_now())

    def _call_off(self, batch_id: str) -> None:
        """Where a person asked to stop, what the provider has not begun is not paid for; the rest is fetched later."""
        if not self._work.claim.cancel_requested():
            return  # only this worker ends: another goes on waiting
        with suppress(ProviderError):  # it may have ended this moment; the next start sees what became of each call
            self._provider.cancel_batch(batch_id)

    def _wait_for(self, batch_id: str) -> None:
        while not (batch := self._patiently(lambda: self._provider.batch(batch_id))).ended:
            with session_scope() as session:
                self._work.tell(session, f"Waiting for {batch.processing} of {batch.total} calls of a batch")
            self._pause(self._poll_seconds)

    def _results(self, batch_id: str) -> list[BatchResult]:
        return self._patiently(lambda: list(self._provider.results(batch_id)))

    def _patiently(self, look: Callable[[], T]) -> T:
        """Ask what costs nothing, again and again while the trouble may pass."""
        for tried in range(1, _MOST_TRIES):
            try:
                return look()
            except ProviderError as error:
                if not error.passing:
                    raise
                self._pause(self._work.backoff(error, tried))
        return look()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._work.check_stop()
            time.sleep(min(_LOOK_SECONDS, seconds))

    def _orphans(self) -> tuple[set[uuid.UUID], datetime | None]:
        with session_scope(write=False) as session:
            of = (JudgeCall.judging_id == self._work.claim.subject_id, JudgeCall.state == CallState.SENT)
            lost = session.scalars(select(JudgeCall.id).where(*of, JudgeCall.provider_batch == NOT_TOLD)).all()
            since = session.scalar(select(func.min(JudgeCall.sent_at)).where(JudgeCall.id.in_(lost))) if lost else None
            return set(lost), since

    def _noted(self, *, only_open: bool = False) -> list[str]:
        """Batches of which we know the ids: of all judges, or of this one and not fetched yet."""
        query = select(JudgeCall.provider_batch).where(JudgeCall.provider_batch.not_in(("", NOT_TOLD)))
        if only_open:
            query = query.where(JudgeCall.judging_id == self._work.claim.subject_id, JudgeCall.state == CallState.SENT)
        with session_scope(write=False) as session:
            return list(session.scalars(query.distinct().order_by(JudgeCall.provider_batch)))

    def _note(self, calls: Collection[uuid.UUID], batch_id: str) -> None:
        with session_scope() as session:
            self._work.claim.hold(session)
            session.execute(update(JudgeCall).where(JudgeCall.id.in_(calls)).values(provider_batch=batch_id))
