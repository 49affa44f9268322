"""The blind view: a prompt and two texts, nothing that names who wrote them.

May not import what names a checkpoint (an import contract holds this); reads texts through the ballot alone.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from app.domain.blinding import sides
from app.domain.terms import BallotState, BatchState, ReasonTag, Reveal
from app.models import Ballot, EvalBatch, Job, Pair, Prompt, Recognition, Response, Verdict
from app.queries.progress import Progress, progress_of, time_spent
from app.queries.suites import Message, messages_of

LONG_PROMPT = 280
"""Characters from which a prompt can be folded away: it stays in view and would take too much room."""

_first, _second = aliased(Response), aliased(Response)
"""Made once: a statement with new aliases would be compiled anew each time."""


@dataclass(frozen=True)
class BlindBallot:
    """All that a voter is shown. The prompt begins with the instructions, where the eval batch gives some."""

    ballot_id: uuid.UUID
    prompt: tuple[Message, ...]
    text_a: str
    text_b: str

    @property
    def prompt_is_long(self) -> bool:
        """Whether the prompt needs more than a few lines."""
        return len(self.prompt) > 1 or len(self.prompt[0].content) > LONG_PROMPT or "\n" in self.prompt[0].content


class VoteState(StrEnum):
    """Why there is, or is not, something to vote on."""

    VOTING = "voting"
    WAITING = "waiting"  # responses are still being written
    FINISHED = "finished"  # this voter has voted on everything there is
    QUOTA = "quota"  # this voter has given all the votes that one rater is asked for
    FULL = "full"  # the eval batch has all the votes it was planned for
    CLOSED = "closed"


@dataclass(frozen=True)
class VotePage:
    """The voting page: at most one ballot, the voter's own counts, and what can still be said of the last vote.

    ``total`` is ballots, those done and those this voter may still meet, as far as pairs are formed. No name of the
    eval batch: admins write checkpoint names into those.
    """

    batch_id: uuid.UUID
    state: VoteState
    ballot: BlindBallot | None
    voted: int
    skipped: int
    total: int
    seconds: float
    """Spent on votes; counted where there is no ballot."""
    undo_ballot_id: uuid.UUID | None
    undo_seconds: float
    """How long the last vote can still be taken back."""
    ask_ballot_id: uuid.UUID | None
    """The last vote, while it is not yet said whether somebody was recognised."""
    tells_authors: bool
    """Whether this voter may read who wrote what, on a page of its own."""
    reason: str = ""
    tags: tuple[ReasonTag, ...] = ()
    problem: str = ""
    """Why what was sent could not be stored; reason and tags are then as they were typed."""

    @property
    def done(self) -> int:
        """Ballots voted on or skipped."""
        return self.voted + self.skipped


def blind_ballot(session: Session, ballot_id: uuid.UUID) -> BlindBallot:
    """The texts of one ballot in its stored order."""
    ballot, system_prompt, messages, first_text, second_text = session.execute(
        select(Ballot, EvalBatch.system_prompt, Prompt.messages, _first.text, _second.text)
        .join(EvalBatch, EvalBatch.id == Ballot.eval_batch_id)
        .join(Pair, Pair.id == Ballot.pair_id)
        .join(Prompt, Prompt.id == Pair.prompt_id)
        .join(_first, _first.id == Pair.first_response_id)
        .join(_second, _second.id == Pair.second_response_id)
        .where(Ballot.id == ballot_id)
    ).one()
    text_a, text_b = sides(ballot.order, first_text, second_text)
    instructions = (Message("system", system_prompt),) if system_prompt else ()
    return BlindBallot(ballot.id, (*instructions, *messages_of(messages)), text_a, text_b)


def has_verdict(session: Session, ballot_id: uuid.UUID) -> bool:
    """Whether a ballot was voted on before."""
    return session.scalar(select(Verdict.id).where(Verdict.ballot_id == ballot_id)) is not None


def vote_page(
    session: Session,
    *,
    batch: EvalBatch,
    voter_id: uuid.UUID,
    open_ballot: Ballot | None,
    undoable: Ballot | None,
    grace: timedelta,
    now: datetime,
) -> VotePage:
    """The page for one voter, given what the voting service has issued."""
    progress = progress_of(session, batch, voter_id)
    closed = batch.state is not BatchState.OPEN
    shown = None if closed else open_ballot
    reason, tags = _said_before(session, shown) if shown and shown.showing else ("", ())
    undo_until = undoable.closed_at + grace if undoable is not None and undoable.closed_at is not None else now
    return VotePage(
        batch_id=batch.id,
        state=_state(session, batch, progress, shown),
        ballot=blind_ballot(session, shown.id) if shown else None,
        voted=progress.voted,
        skipped=progress.skipped,
        total=progress.voted + progress.skipped + (1 + progress.left if shown else 0),
        seconds=0.0 if shown else time_spent(session, batch.id, voter_id),
        undo_ballot_id=None if closed or undoable is None else undoable.id,
        undo_seconds=(undo_until - now).total_seconds(),
        ask_ballot_id=_not_yet_asked(session, batch, voter_id) if batch.ask_recognised and not closed else None,
        tells_authors=closed and batch.reveal is Reveal.AT_CLOSE and progress.voted > 0,
        reason=reason,
        tags=tags,
    )


def _state(session: Session, batch: EvalBatch, progress: Progress, shown: Ballot | None) -> VoteState:
    if batch.state is not BatchState.OPEN:
        return VoteState.CLOSED
    if shown is not None:
        return VoteState.VOTING
    if progress.quota_reached:
        return VoteState.QUOTA
    if progress.limit_reached:
        return VoteState.FULL
    return VoteState.WAITING if _generating(session, batch) else VoteState.FINISHED


def _said_before(session: Session, ballot: Ballot) -> tuple[str, tuple[ReasonTag, ...]]:
    """Reason and tags of the vote that was taken back to show this ballot again: nobody has to type them twice."""
    before = session.execute(
        select(Verdict.reason, Verdict.tags)
        .join(Ballot, Ballot.id == Verdict.ballot_id)
        .where(
            Ballot.pair_id == ballot.pair_id,
            Ballot.voter_id == ballot.voter_id,
            Ballot.is_repeat == ballot.is_repeat,
            Ballot.order == ballot.order,
            Ballot.state == BallotState.RETRACTED,
            Ballot.showing == ballot.showing - 1,
        )
    ).first()
    return (before.reason, tuple(ReasonTag(tag) for tag in before.tags)) if before else ("", ())


def _not_yet_asked(session: Session, batch: EvalBatch, voter_id: uuid.UUID) -> uuid.UUID | None:
    """The voter's last ballot that is done with, if it is a vote and nothing was said of recognising yet."""
    last = session.execute(
        select(Ballot.id, Ballot.state, Recognition.verdict_id)
        .join(Verdict, Verdict.ballot_id == Ballot.id, isouter=True)
        .join(Recognition, Recognition.verdict_id == Verdict.id, isouter=True)
        .where(
            Ballot.eval_batch_id == batch.id,
            Ballot.voter_id == voter_id,
            Ballot.state.in_((BallotState.VOTED, BallotState.SKIPPED, BallotState.RETRACTED)),
        )
        .order_by(Ballot.closed_at.desc(), Ballot.number.desc())
        .limit(1)
    ).first()
    asked = last is None or last.state is not BallotState.VOTED or last.verdict_id is not None
    return None if asked or last is None else last.id


def _generating(session: Session, batch: EvalBatch) -> bool:
    job = session.get(Job, batch.job_id) if batch.job_id else None
    return job is not None and job.state in ("queued", "running")
