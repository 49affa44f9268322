"""Voting: cast a verdict, skip, undo. Every rule here is also a constraint in the database."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app import meters
from app.domain import blinding
from app.domain.errors import ConflictError, NotFoundError
from app.domain.terms import BallotState, BatchState, Choice, Outcome, ReasonTag, VoterKind
from app.models import Ballot, EvalBatch, Recognition, Tally, Verdict, Voter
from app.queries.ballots import has_verdict
from app.queries.seals import recognition_seal, retraction_seal, verdict_seal
from app.services.assignment import Rules, open_ballot
from app.services.events import announce
from app.services.slots import held, locked, release

_NOT_YOURS = "This ballot is not yours or no longer exists. Reload the page to go on."


def cast(
    session: Session,
    ballot_id: uuid.UUID,
    voter: Voter,
    choice: Choice,
    *,
    rules: Rules,
    now: datetime,
    reason: str = "",
    tags: Sequence[ReasonTag] = (),
) -> Verdict:
    """Store a choice. The same choice again changes nothing and gives the same verdict.

    Raises:
        NotFoundError: no such ballot for this voter.
        ConflictError: another choice stands already, it was taken back, skipped, or voting is closed.
    """
    ballot = own_ballot(session, ballot_id, voter)
    standing = None if ballot.state is BallotState.OPEN else _verdict_on(session, ballot)
    if standing is not None:
        if standing.retracted_at is None and standing.choice is choice:
            meters.count(session, meters.VOTES, "replayed")
            return standing
        if standing.retracted_at is not None:
            raise ConflictError("You took this vote back. Nothing was stored; reload to see the pair again.")
        raise ConflictError("This pair has your vote already, and it stands as you first cast it. Go on to the next.")
    if ballot.state is BallotState.SKIPPED:
        raise ConflictError("You skipped this pair. Go on to the next.")
    if _closed(session, ballot):
        raise ConflictError("Voting has closed. This vote was not counted; all your earlier ones are.")
    late = ballot.state is BallotState.EXPIRED
    outcome = blinding.outcome(choice, ballot.order)
    verdict = Verdict(
        ballot_id=ballot.id,
        choice=choice,
        outcome=outcome,
        reason=reason,
        tags=sorted({tag.value for tag in tags}),
        surplus=late,
        seconds=(now - ballot.issued_at).total_seconds(),
        cast_at=now,
        retracted_at=None,
        retraction_seal=None,
    )
    verdict.seal = verdict_seal(ballot, verdict, rules.secret)
    session.add(verdict)
    if not late:
        ballot.state = BallotState.VOTED
        ballot.closed_at = now
        _count(session, ballot, verdict, +1)
    session.flush()
    announce(session, "verdicts", ballot.eval_batch_id, now=now)
    meters.count(session, meters.VOTES, "late" if late else "cast")
    return verdict


def own_ballot(session: Session, ballot_id: uuid.UUID, voter: Voter) -> Ballot:
    """A ballot of this voter, locked.

    Raises:
        NotFoundError: it does not exist or is somebody else's (one sentence for both).
    """
    mine = select(Ballot).where(Ballot.id == ballot_id, Ballot.voter_id == voter.id)
    ballot = session.scalar(mine.with_for_update().execution_options(populate_existing=True))
    if ballot is None:
        raise NotFoundError(_NOT_YOURS)
    return ballot


def _verdict_on(session: Session, ballot: Ballot) -> Verdict | None:
    return session.scalar(select(Verdict).where(Verdict.ballot_id == ballot.id))


def _closed(session: Session, ballot: Ballot) -> bool:
    """Whether voting is over, asked after the ballot was locked: closing waits for that, or was first.

    It never is for a judge, whose verdicts stand beside the plan.
    """
    if ballot.voter_kind is VoterKind.JUDGE:
        return False
    state = session.scalars(select(EvalBatch.state).where(EvalBatch.id == ballot.eval_batch_id)).one()
    return state is not BatchState.OPEN


def _count(session: Session, ballot: Ballot, verdict: Verdict, by: int) -> None:
    """Keep the tally in step with the verdicts, in the same transaction."""
    if ballot.is_repeat:  # outside n
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
        .execution_options(synchronize_session=False)
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
    if has_verdict(session, ballot.id):
        raise ConflictError("This pair has a late vote of yours, so it cannot be skipped. Go on to the next.")
    if ballot.state is BallotState.EXPIRED:  # its slot is free already
        ballot.state, ballot.closed_at = BallotState.SKIPPED, now
    else:
        release(session, ballot, BallotState.SKIPPED, now=now)
    ballot.skip_reason = reason
    session.flush()
    meters.count(session, meters.VOTES, "skipped")
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
    batch = locked(session, batch_id)  # before the ballot, as everybody does who needs both
    ballot = own_ballot(session, ballot_id, voter)
    if ballot.state is BallotState.RETRACTED:
        raise ConflictError("This vote was taken back already. Reload the page to vote on the pair again.")
    last = undoable(session, batch.id, voter, rules=rules, now=now)
    if batch.state is not BatchState.OPEN or last is None or last.id != ballot.id:
        raise ConflictError("Only the last vote can be taken back, and only shortly after it. It stands.")
    verdict = session.scalars(select(Verdict).where(Verdict.ballot_id == ballot.id)).one()
    verdict.retracted_at = now
    verdict.retraction_seal = retraction_seal(verdict, rules.secret)
    ballot.state = BallotState.RETRACTED
    _count(session, ballot, verdict, -1)
    meanwhile = held(session, batch.id, voter.id)
    if meanwhile is not None:
        release(session, meanwhile, BallotState.EXPIRED, now=now)
    session.flush()  # frees the slot before it is taken again
    announce(session, "verdicts", batch.id, now=now)
    meters.count(session, meters.VOTES, "undone")
    shown = session.scalar(
        select(func.count(Ballot.id)).where(Ballot.eval_batch_id == batch.id, Ballot.voter_id == voter.id)
    )  # fmt: skip
    return open_ballot(
        session,
        Ballot(
            pair_id=ballot.pair_id, eval_batch_id=batch.id, voter_id=voter.id, voter_kind=voter.kind, number=shown,
            slot=ballot.slot, order=ballot.order, showing=ballot.showing + 1, is_repeat=ballot.is_repeat,
        ),
        rules=rules, now=now,
    )  # fmt: skip


def recognise(
    session: Session,
    ballot_id: uuid.UUID,
    voter: Voter,
    recognised: bool,  # noqa: FBT001 (the answer itself)
    *,
    rules: Rules,
    now: datetime,
) -> Recognition:
    """Keep the answer to "did you think you recognised who wrote one of them?", given after the vote.

    The same answer again changes nothing.

    Raises:
        NotFoundError: no such ballot for this voter.
        ConflictError: it has no standing vote or another answer already, or voting is closed.
    """
    ballot = own_ballot(session, ballot_id, voter)
    verdict = session.scalar(select(Verdict).where(Verdict.ballot_id == ballot.id, Verdict.retracted_at.is_(None)))
    if verdict is None:
        raise ConflictError("This pair has no vote of yours, so there is nothing to add to it.")
    if _closed(session, ballot):  # who wrote what may be told by now
        raise ConflictError("Voting has closed. This answer was not kept; all your votes are.")
    standing = session.get(Recognition, verdict.id)
    if standing is not None:
        if standing.recognised is recognised:
            return standing
        raise ConflictError("You have answered this already; the first answer stands.")
    answer = Recognition(verdict_id=verdict.id, recognised=recognised, answered_at=now)
    answer.seal = recognition_seal(verdict, answer, rules.secret)
    session.add(answer)
    session.flush()
    announce(session, "verdicts", ballot.eval_batch_id, now=now)
    return answer
