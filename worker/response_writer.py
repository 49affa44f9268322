"""Stores the responses of an eval batch as they come, forms the pairs that they complete, and tells how far it is."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.config import get_settings
from app.db import session_scope
from app.domain.errors import ConflictError
from app.domain.terms import BatchState, FinishReason
from app.models import EvalBatch
from app.services import responses
from app.services.responses import Planned
from worker.claim import Claim, utc_now

_STORE_SECONDS = 2.0
_STORE_ROWS = 8
"""A killed worker loses at most the rows in flight and the few finished since the last store."""


@dataclass(frozen=True)
class _Finished:
    response: responses.Generated
    engine: str


def open_batch(session: Session, claim: Claim) -> EvalBatch:
    """The batch of this job; a closed one must not grow.

    Raises:
        ConflictError: it is closed.
    """
    batch = session.get_one(EvalBatch, claim.subject_id)
    if batch.state is BatchState.CLOSED:
        raise ConflictError(f"The eval batch {batch.name} is closed: nothing more is written for it.")
    return batch


class ResponseWriter:
    """Takes finished responses by the key of their request (the seed as text) and stores them in small transactions."""

    def __init__(self, claim: Claim, plan: Sequence[Planned], missing: Sequence[Planned]) -> None:
        self._claim = claim
        self._by_key = {str(planned.seed): planned for planned in missing}
        self._by_place: dict[tuple[object, int], list[Planned]] = {}
        for planned in plan:
            self._by_place.setdefault((planned.prompt_id, planned.replicate), []).append(planned)
        self._total = len(plan)
        self._done = self._total - len(missing)
        self._begun_with = self._done
        self._begun_at = self._stored_at = time.monotonic()
        self._waiting: list[_Finished] = []

    def add(self, key: str, text: str, token_count: int, finish_reason: FinishReason, *, engine: str) -> None:
        """Take one finished response and what wrote it; store when some have come together."""
        response = responses.Generated(self._by_key[key], text, token_count, finish_reason)
        self._waiting.append(_Finished(response, engine))
        if len(self._waiting) >= _STORE_ROWS or time.monotonic() - self._stored_at > _STORE_SECONDS:
            self.flush()

    def say(self, message: str) -> None:
        """Show what goes on while nothing is finished yet."""
        with session_scope() as session:
            self._claim.progress(session, done=self._done, total=self._total, message=message)

    def flush(self) -> None:
        """Store what is waiting."""
        if not self._waiting:
            return
        done = self._done + len(self._waiting)
        with session_scope() as session:
            batch = open_batch(session, self._claim)
            self._claim.progress(
                session,
                done=done,
                total=self._total,
                message=f"{done} of {self._total} responses",
                eta_seconds=self._eta(done),
            )
            for engine in dict.fromkeys(one.engine for one in self._waiting):
                written = [one.response for one in self._waiting if one.engine == engine]
                responses.store(session, batch, written, engine=engine, now=utc_now())
            responses.form_pairs(session, batch, self._touched(), secret=get_settings().secret_key(), now=utc_now())
        self._done, self._waiting, self._stored_at = done, [], time.monotonic()

    def _touched(self) -> Sequence[Planned]:
        """The plan of the prompts and replicates that the waiting responses belong to."""
        planned = [one.response.planned for one in self._waiting]
        places = dict.fromkeys((one.prompt_id, one.replicate) for one in planned)
        return [one for place in places for one in self._by_place[place]]

    def _eta(self, done: int) -> float | None:
        written = done - self._begun_with
        elapsed = time.monotonic() - self._begun_at
        return elapsed / written * (self._total - done) if written else None
