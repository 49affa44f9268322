"""What calls one by one and calls in batches share: the next calls with their rows, and what came back stored."""

import random
import uuid
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from app.db import session_scope
from app.domain.terms import JudgingState, Trouble
from app.models import JudgeCall, Judging
from app.providers.calls import JudgeRequest, Reply
from app.providers.errors import ProviderError
from app.providers.pacing import backoff
from app.services import judging
from app.services.assignment import Rules
from app.services.judge_ballots import next_ballots, progress_of
from app.services.judge_calls import MOST_FAULTS, Prepared, prepare, settle, stops
from training.errors import Cancelled
from worker.claim import Claim, utc_now

_STOPPED = "Stopped. All verdicts so far are kept."


@dataclass
class Work:
    """One attempt at one judging. Every transaction holds the claim, so a worker thought dead cannot write."""

    claim: Claim
    rules: Rules
    should_stop: Callable[[], bool]
    rng: random.Random
    retry_seconds: float
    failures: Counter[uuid.UUID] = field(default_factory=Counter)
    """Calls for each ballot that brought no reply since this start: a resumed judge is as patient as a new one."""
    cap_reached: bool = False
    """Whether the last call that was to be prepared could have taken the spending over the cap."""

    def prepare(
        self, most: int, body: Callable[[JudgeRequest], dict[str, Any]], waiting: Collection[uuid.UUID] = ()
    ) -> list[Prepared]:
        """Up to about ``most`` calls whose rows are committed. ``waiting``: ballots whose time has not come.

        Raises:
            Cancelled: somebody asked to stop. It is looked up here each time, so that no call is paid for after it.
        """
        with session_scope() as session:
            if self.claim.hold(session).cancel_requested_at is not None:
                raise Cancelled(_STOPPED)
            asked = self.judging(session)
            now = utc_now()
            prepared: list[Prepared] = []
            self.cap_reached = False
            for ballot in next_ballots(session, asked, most, waiting, rules=self.rules, now=now, rng=self.rng):
                one = prepare(session, asked, ballot, body, now=now)
                if one is None:
                    self.cap_reached = True
                    break
                prepared.append(one)
            return prepared

    def settle(
        self, call_id: uuid.UUID, outcome: Reply | ProviderError, *, shared: bool = False
    ) -> ProviderError | None:
        """Store an outcome and say how far the work is; returns the trouble over which the judge has to stop.

        ``shared``: a whole batch was refused, which says nothing about the texts of one call.
        """
        with session_scope() as session:
            self.claim.hold(session)
            call: JudgeCall = settle(
                session, self.judging(session), call_id, outcome, rules=self.rules, now=utc_now(), shared=shared
            )
            self.tell(session)
            if isinstance(outcome, ProviderError) and outcome.passing:
                self.failures[call.ballot_id] += 1
                return outcome if self.failures[call.ballot_id] >= MOST_FAULTS else None
            return stops(session, call, outcome)

    def backoff(self, error: ProviderError, failures: int) -> float:
        """Seconds to wait after so many failures."""
        return backoff(error, failures, self.rng, self.retry_seconds)

    def tell(self, session: Session, message: str = "Asking the judge") -> None:
        """Say how far the work is, in the transaction of the work itself."""
        done, total = progress_of(session, self.judging(session))
        self.claim.progress(session, done=done, total=total, message=message)

    def judging(self, session: Session) -> Judging:
        """The row of this work."""
        return session.get_one(Judging, self.claim.subject_id)

    def end(self, state: JudgingState, *, trouble: Trouble | None = None, message: str = "") -> None:
        """The last word on this start of the judge."""
        with session_scope() as session:
            self.claim.hold(session)
            judging.end(session, self.judging(session), state, trouble=trouble, message=message, now=utc_now())

    def check_stop(self) -> None:
        """End the work if somebody asked for it.

        Raises:
            Cancelled: somebody did.
        """
        if self.should_stop():
            raise Cancelled(_STOPPED)

    def stop_at_cap(self) -> None:
        """End the work at its cap.

        Raises:
            CapReachedError: always; says what was spent.
        """
        with session_scope(write=False) as session:
            raise judging.cap_reached(session, self.judging(session))
