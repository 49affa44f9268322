"""The blind view: a prompt and two texts, nothing that names who wrote them.

May not import what names a checkpoint (an import contract holds this); reads texts through the ballot alone.
"""

import uuid
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from app.domain.blinding import sides
from app.domain.terms import BallotState, BatchState
from app.models import Ballot, EvalBatch, Job, Pair, Prompt, Response
from app.queries.suites import Message, messages_of


@dataclass(frozen=True)
class BlindBallot:
    """All that a voter is shown."""

    ballot_id: uuid.UUID
    prompt: tuple[Message, ...]
    text_a: str
    text_b: str


class VoteState(StrEnum):
    """Why there is, or is not, something to vote on."""

    VOTING = "voting"
    WAITING = "waiting"  # responses are still being written
    FINISHED = "finished"  # this voter has voted on everything there is
    CLOSED = "closed"


@dataclass(frozen=True)
class VotePage:
    """The voting page: at most one ballot, the voter's own count, and whether the last vote can be undone.

    ``total`` is what this voter could vote on in all, as far as pairs are formed. No name of the eval
    batch: admins write checkpoint names into those.
    """

    batch_id: uuid.UUID
    state: VoteState
    ballot: BlindBallot | None
    voted: int
    total: int
    undo_ballot_id: uuid.UUID | None


def blind_ballot(session: Session, ballot_id: uuid.UUID) -> BlindBallot:
    """The texts of one ballot in its stored order."""
    first, second = aliased(Response), aliased(Response)
    ballot, messages, first_text, second_text = session.execute(
        select(Ballot, Prompt.messages, first.text, second.text)
        .join(Pair, Pair.id == Ballot.pair_id)
        .join(Prompt, Prompt.id == Pair.prompt_id)
        .join(first, first.id == Pair.first_response_id)
        .join(second, second.id == Pair.second_response_id)
        .where(Ballot.id == ballot_id)
    ).one()
    text_a, text_b = sides(ballot.order, first_text, second_text)
    return BlindBallot(ballot.id, messages_of(messages), text_a, text_b)


def vote_page(
    session: Session,
    *,
    batch: EvalBatch,
    voter_id: uuid.UUID,
    open_ballot: Ballot | None,
    undoable: Ballot | None,
) -> VotePage:
    """The page for one voter, given what the voting service has issued."""
    voted, waiting_for = progress(session, batch, voter_id)
    if batch.state is BatchState.CLOSED:
        state = VoteState.CLOSED
    elif open_ballot is not None:
        state = VoteState.VOTING
    else:
        state = VoteState.WAITING if _generating(session, batch) else VoteState.FINISHED
    showing = open_ballot is not None and state is VoteState.VOTING
    return VotePage(
        batch_id=batch.id,
        state=state,
        ballot=blind_ballot(session, open_ballot.id) if showing and open_ballot else None,
        voted=voted,
        total=max(waiting_for, voted + (1 if showing else 0)),
        undo_ballot_id=undoable.id if undoable else None,
    )


def progress(session: Session, batch: EvalBatch, voter_id: uuid.UUID) -> tuple[int, int]:
    """How many votes this voter gave in an eval batch, and on how many pairs one voter may vote as far as formed."""
    return _count(session, batch.id, voter_id), _pairs_in_reach(session, batch)


def _count(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID) -> int:
    query = select(func.count(Ballot.id)).where(
        Ballot.eval_batch_id == batch_id, Ballot.voter_id == voter_id, Ballot.state == BallotState.VOTED
    )
    return session.scalar(query) or 0


def _pairs_in_reach(session: Session, batch: EvalBatch) -> int:
    """Pairs one voter may meet: all that need a voter, or one for each prompt and replicate."""
    open_pairs = select(Pair.prompt_id, Pair.replicate).where(Pair.eval_batch_id == batch.id, Pair.settled.is_(None))
    if not batch.allow_repeats:
        open_pairs = open_pairs.distinct()
    return session.scalar(select(func.count()).select_from(open_pairs.subquery())) or 0


def _generating(session: Session, batch: EvalBatch) -> bool:
    job = session.get(Job, batch.job_id) if batch.job_id else None
    return job is not None and job.state in ("queued", "running")
