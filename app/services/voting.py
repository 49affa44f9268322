"""Voting: issue a ballot, cast a verdict, skip, undo. Every rule here is also a constraint in the database."""

import random
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import Row, func, select, update
from sqlalchemy.orm import Session

from app.config import Settings
from app.domain import blinding
from app.domain.errors import ConflictError, NotFoundError
from app.domain.terms import BallotState, BatchState, Choice, Order, Outcome, PairKind
from app.models import Ballot, EvalBatch, Pair, Response, Tally, Verdict, Voter
from app.services.events import announce

_NOT_YOURS = "This ballot is not yours or no longer exists. Reload the page to go on."
_LIVE = (BallotState.OPEN, BallotState.VOTED)
_MAY_COME_BACK = (BallotState.EXPIRED, BallotState.RETRACTED)
"""A pair whose ballots all lapsed or were taken back may come back to the same voter, in the same order."""


@dataclass(frozen=True)
class Rules:
    """What the operator sets: the key of the seals, how long a slot is held, how long a vote can be undone."""

    secret: bytes
    lease: timedelta
    grace: timedelta

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The rules that the operator has set."""
        return cls(
            secret=settings.secret_key(),
            lease=timedelta(seconds=settings.ballot_lease_seconds),
            grace=timedelta(seconds=settings.undo_seconds),
        )


def issue(
    session: Session, batch_id: uuid.UUID, voter: Voter, *, rules: Rules, now: datetime, rng: random.Random
) -> Ballot | None:
    """The ballot this voter should see now, or ``None`` when there is nothing to vote on.

    A ballot still open is shown again (two tabs, back button, closed laptop), however long ago. Otherwise
    a pair with a free slot is drawn uniformly at random among those of the least voted prompts, and the order
    is drawn and stored before anything is shown.
    """
    batch = _locked(session, batch_id)
    if batch.state is BatchState.CLOSED:
        return None
    held = _held(session, batch.id, voter.id)
    if held is not None:
        held.expires_at = now + rules.lease
        return held
    _expire(session, batch.id, now)
    candidates = _candidates(session, batch, voter)
    if not candidates:
        return None
    least = min(row.prompt_votes for row in candidates)
    chosen = rng.choice([row for row in candidates if row.prompt_votes == least])
    return _show(session, batch, chosen.id, voter, rules=rules, now=now, rng=rng)


def _locked(session: Session, batch_id: uuid.UUID) -> EvalBatch:
    """The batch, locked: issuing is serial within a batch, so blocks of orders and slots stay exact.

    Not against new pairs, which only point to it: voting must not make generation wait.
    """
    batch = session.get(EvalBatch, batch_id, with_for_update={"key_share": True}, populate_existing=True)
    if batch is None:
        raise NotFoundError("There is nothing to vote on at this address. Ask for a new link.")
    return batch


def _held(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID) -> Ballot | None:
    return session.scalar(
        select(Ballot).where(
            Ballot.eval_batch_id == batch_id, Ballot.voter_id == voter_id, Ballot.state == BallotState.OPEN
        ).with_for_update()  # another tab may be voting on it at this moment
    )  # fmt: skip


def _expire(session: Session, batch_id: uuid.UUID, now: datetime) -> None:
    session.execute(
        update(Ballot)
        .where(Ballot.eval_batch_id == batch_id, Ballot.state == BallotState.OPEN, Ballot.expires_at < now)
        .values(state=BallotState.EXPIRED, closed_at=now)
    )


def _candidates(session: Session, batch: EvalBatch, voter: Voter) -> Sequence[Row[Any]]:
    """Pairs with a free slot that this voter may meet, each with the live ballots on its prompt."""
    live = (
        select(Ballot.pair_id, func.count().label("n"))
        .where(
            Ballot.eval_batch_id == batch.id,
            Ballot.voter_kind == voter.kind,
            Ballot.state.in_(_LIVE),
            Ballot.is_repeat.is_(False),
        )
        .group_by(Ballot.pair_id)
        .subquery()
    )
    by_prompt = (
        select(Pair.prompt_id, func.sum(live.c.n).label("n"))
        .join(live, live.c.pair_id == Pair.id)
        .group_by(Pair.prompt_id)
        .subquery()
    )
    met = select(Ballot.pair_id).where(
        Ballot.eval_batch_id == batch.id, Ballot.voter_id == voter.id, Ballot.state.not_in(_MAY_COME_BACK)
    )
    query = (
        select(Pair.id, func.coalesce(by_prompt.c.n, 0).label("prompt_votes"))
        .join(live, live.c.pair_id == Pair.id, isouter=True)
        .join(by_prompt, by_prompt.c.prompt_id == Pair.prompt_id, isouter=True)
        .where(
            Pair.eval_batch_id == batch.id,
            Pair.kind == PairKind.MAIN,
            Pair.settled.is_(None),
            func.coalesce(live.c.n, 0) < batch.votes_per_pair,
            Pair.id.not_in(met),
        )
        .order_by(Pair.id)
    )
    found = session.execute(query.add_columns(Pair.prompt_id, Pair.replicate)).all()
    if batch.allow_repeats:
        return found
    # A pair that lapsed was read all the same: of its prompt and replicate this voter may only meet it again.
    shown = select(Ballot.pair_id).where(Ballot.eval_batch_id == batch.id, Ballot.voter_id == voter.id)
    places = session.execute(select(Pair.prompt_id, Pair.replicate, Pair.id).where(Pair.id.in_(shown)))
    pair_at = {(prompt_id, replicate): pair_id for prompt_id, replicate, pair_id in places}
    return [row for row in found if pair_at.get((row.prompt_id, row.replicate), row.id) == row.id]


def _show(
    session: Session,
    batch: EvalBatch,
    pair_id: uuid.UUID,
    voter: Voter,
    *,
    rules: Rules,
    now: datetime,
    rng: random.Random,
) -> Ballot:
    """Take the lowest free slot of a pair and fix the order."""
    mine = (Ballot.pair_id == pair_id, Ballot.voter_kind == voter.kind, Ballot.is_repeat.is_(False))
    live = session.scalars(select(Ballot).where(*mine, Ballot.state.in_(_LIVE))).all()
    earlier = session.scalar(
        select(Ballot).where(*mine, Ballot.voter_id == voter.id).order_by(Ballot.showing.desc()).limit(1)
    )
    taken = {ballot.slot for ballot in live}
    slot = next(slot for slot in range(batch.votes_per_pair) if slot not in taken)
    if earlier is not None:
        order = earlier.order  # the same pair in the other order would tell which text is which
    else:
        order = blinding.draw_order(rng, Counter(b.order for b in live), _drawn(session, batch, voter))
    return _issue(
        session, pair_id, batch.id, voter, slot=slot, order=order, showing=earlier.showing + 1 if earlier else 0,
        rules=rules, now=now,
    )  # fmt: skip


def _drawn(session: Session, batch: EvalBatch, voter: Voter) -> dict[Order, int]:
    """Orders of all first showings in the batch for this kind of voter."""
    query = (
        select(Ballot.order, func.count())
        .where(Ballot.eval_batch_id == batch.id, Ballot.voter_kind == voter.kind, Ballot.showing == 0)
        .group_by(Ballot.order)
    )
    return dict(session.execute(query).all())


def _issue(
    session: Session,
    pair_id: uuid.UUID,
    batch_id: uuid.UUID,
    voter: Voter,
    *,
    slot: int,
    order: Order,
    showing: int,
    rules: Rules,
    now: datetime,
) -> Ballot:
    ballot = Ballot(
        id=uuid.uuid4(),
        pair_id=pair_id,
        eval_batch_id=batch_id,
        voter_id=voter.id,
        voter_kind=voter.kind,
        slot=slot,
        order=order,
        showing=showing,
        state=BallotState.OPEN,
        issued_at=now,
        expires_at=now + rules.lease,
        closed_at=None,
        seal="",
    )
    ballot.seal = ballot_seal(session, ballot, rules.secret)
    session.add(ballot)
    session.flush()
    return ballot


def ballot_seal(session: Session, ballot: Ballot, secret: bytes) -> str:
    """The seal a ballot must carry: over who sees which texts in which order, since when."""
    texts = dict(
        session.execute(
            select(Response.id, Response.text).join(
                Pair, (Pair.first_response_id == Response.id) | (Pair.second_response_id == Response.id)
            ).where(Pair.id == ballot.pair_id)
        ).all()
    )  # fmt: skip
    pair = session.get_one(Pair, ballot.pair_id)
    return blinding.seal(
        secret,
        "ballot",
        str(ballot.id),
        str(ballot.pair_id),
        str(ballot.voter_id),
        str(ballot.slot),
        ballot.order,
        str(ballot.showing),
        ballot.issued_at.isoformat(),
        texts[pair.first_response_id],
        texts[pair.second_response_id],
    )


def cast(
    session: Session,
    ballot_id: uuid.UUID,
    voter: Voter,
    choice: Choice,
    *,
    rules: Rules,
    now: datetime,
    reason: str = "",
) -> Verdict:
    """Store a choice. The same choice again changes nothing and gives the same verdict.

    Raises:
        NotFoundError: no such ballot for this voter.
        ConflictError: another choice stands already, it was taken back, skipped, or voting is closed.
    """
    ballot = own_ballot(session, ballot_id, voter)
    standing = session.scalar(select(Verdict).where(Verdict.ballot_id == ballot.id))
    if standing is not None:
        if standing.retracted_at is None and standing.choice is choice:
            return standing
        if standing.retracted_at is not None:
            raise ConflictError("You took this vote back. Nothing was stored; reload to see the pair again.")
        raise ConflictError("This pair has your vote already, and it stands as you first cast it. Go on to the next.")
    if ballot.state is BallotState.SKIPPED:
        raise ConflictError("You skipped this pair. Go on to the next.")
    if session.get_one(EvalBatch, ballot.eval_batch_id).state is BatchState.CLOSED:
        raise ConflictError("Voting has closed. This vote was not counted; all your earlier ones are.")
    late = ballot.state is BallotState.EXPIRED
    outcome = blinding.outcome(choice, ballot.order)
    verdict = Verdict(
        ballot_id=ballot.id,
        choice=choice,
        outcome=outcome,
        reason=reason,
        tags=[],
        surplus=late,
        seconds=(now - ballot.issued_at).total_seconds(),
        cast_at=now,
        retracted_at=None,
        seal=verdict_seal(rules.secret, ballot.seal, choice, outcome, now),
    )
    session.add(verdict)
    if not late:
        ballot.state = BallotState.VOTED
        ballot.closed_at = now
        _count(session, ballot, verdict, +1)
    session.flush()
    announce(session, "verdicts", ballot.eval_batch_id, now=now)
    return verdict


def verdict_seal(secret: bytes, ballot_seal_: str, choice: Choice, outcome: Outcome, cast_at: datetime) -> str:
    """The seal a verdict must carry."""
    return blinding.seal(secret, "verdict", ballot_seal_, choice, outcome, cast_at.isoformat())


def own_ballot(session: Session, ballot_id: uuid.UUID, voter: Voter) -> Ballot:
    """A ballot of this voter, locked.

    Raises:
        NotFoundError: it does not exist or is somebody else's (one sentence for both).
    """
    ballot = session.scalar(select(Ballot).where(Ballot.id == ballot_id, Ballot.voter_id == voter.id).with_for_update())
    if ballot is None:
        raise NotFoundError(_NOT_YOURS)
    return ballot


def _count(session: Session, ballot: Ballot, verdict: Verdict, by: int) -> None:
    """Keep the tally in step with the verdicts, in the same transaction."""
    if ballot.is_repeat:
        return
    column = {Outcome.FIRST: Tally.first, Outcome.SECOND: Tally.second, Outcome.TIE: Tally.tie}[verdict.outcome]
    values: dict[Any, Any] = {column: column + by}
    if verdict.choice is Choice.BOTH_BAD:
        values[Tally.both_bad] = Tally.both_bad + by
    counted = session.scalars(
        update(Tally)
        .where(Tally.pair_id == ballot.pair_id, Tally.voter_kind == ballot.voter_kind)
        .values(values)
        .returning(Tally.pair_id)
    ).all()
    if len(counted) != 1:  # a verdict nobody counts must not be stored
        raise RuntimeError(f"pair {ballot.pair_id} has no tally for a {ballot.voter_kind}")


def skip(session: Session, ballot_id: uuid.UUID, voter: Voter, *, now: datetime, reason: str = "") -> Ballot:
    """Close a ballot without a verdict and free its slot; the voter does not meet the pair again.

    Raises:
        NotFoundError: no such ballot for this voter.
        ConflictError: it has a vote already.
    """
    ballot = own_ballot(session, ballot_id, voter)
    if ballot.state is BallotState.SKIPPED:
        return ballot
    if ballot.state in (BallotState.VOTED, BallotState.RETRACTED):
        raise ConflictError("This pair has your vote already, so it cannot be skipped. Go on to the next.")
    ballot.state = BallotState.SKIPPED
    ballot.closed_at = now
    ballot.skip_reason = reason
    session.flush()
    return ballot


def undoable(session: Session, batch_id: uuid.UUID, voter: Voter, *, rules: Rules, now: datetime) -> Ballot | None:
    """The voter's last vote in the batch, while it can still be taken back."""
    return session.scalar(
        select(Ballot)
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .where(
            Ballot.eval_batch_id == batch_id,
            Ballot.voter_id == voter.id,
            Ballot.state == BallotState.VOTED,
            Verdict.cast_at >= now - rules.grace,
        )
        .order_by(Verdict.cast_at.desc())
        .limit(1)
    )


def undo(session: Session, ballot_id: uuid.UUID, voter: Voter, *, rules: Rules, now: datetime) -> Ballot:
    """Take a vote back: the verdict is kept as retracted and the pair is shown again in the same order.

    A ballot the voter was shown in the meantime lapses and comes back later in its own order.

    Raises:
        NotFoundError: no such ballot for this voter.
        ConflictError: it is not the last vote, the grace time is over, or voting is closed.
    """
    batch_id = session.scalar(select(Ballot.eval_batch_id).where(Ballot.id == ballot_id, Ballot.voter_id == voter.id))
    if batch_id is None:
        raise NotFoundError(_NOT_YOURS)
    batch = _locked(session, batch_id)  # before the ballot, as everybody does who needs both
    ballot = own_ballot(session, ballot_id, voter)
    if ballot.state is BallotState.RETRACTED:
        raise ConflictError("This vote was taken back already. Reload the page to vote on the pair again.")
    last = undoable(session, batch.id, voter, rules=rules, now=now)
    if batch.state is BatchState.CLOSED or last is None or last.id != ballot.id:
        raise ConflictError("Only the last vote can be taken back, and only shortly after it. It stands.")
    verdict = session.scalars(select(Verdict).where(Verdict.ballot_id == ballot.id)).one()
    verdict.retracted_at = now
    ballot.state = BallotState.RETRACTED
    _count(session, ballot, verdict, -1)
    held = _held(session, batch.id, voter.id)
    if held is not None:
        held.state = BallotState.EXPIRED
        held.closed_at = now
    session.flush()  # frees the slot before it is taken again
    announce(session, "verdicts", batch.id, now=now)
    return _issue(
        session, ballot.pair_id, batch.id, voter,
        slot=ballot.slot, order=ballot.order, showing=ballot.showing + 1, rules=rules, now=now,
    )  # fmt: skip
