"""How far a voter is in an eval batch, and how much it still has for them. Blind side: counts, and no names.

Gold pairs and repeats count like every other ballot, so that no number on the page tells which ballot is a check.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session, aliased

from app.domain.terms import BallotState, PairKind, VoterKind
from app.models import Ballot, EvalBatch, Pair, Tally, Verdict

LONGEST_READING = 600
"""Seconds of one ballot that are taken for reading: a laptop closed over night is not."""

_MET = (BallotState.OPEN, BallotState.VOTED, BallotState.SKIPPED)
_TAKES_SLOTS = (PairKind.MAIN, PairKind.PLACEBO)


@dataclass(frozen=True)
class Progress:
    """One voter's ballots in one eval batch.

    ``left`` is without the ballot that is open, and the most that may come: a pair that is shown twice needs others in
    between, which there may not be at the very end.
    """

    voted: int
    skipped: int
    open: int
    left: int
    quota_reached: bool
    """This voter has given all the votes that one rater is asked for."""
    limit_reached: bool
    """The eval batch has all the votes it was planned for."""


def progress_of(session: Session, batch: EvalBatch, voter_id: uuid.UUID) -> Progress:
    """Count what this voter did and may still be shown, as far as pairs are formed."""
    voted = skipped = held = main_voted = gold_met = repeats_met = 0
    shown = select(Ballot.state, Pair.kind, Ballot.is_repeat, func.count()).join(Pair, Pair.id == Ballot.pair_id)
    mine = shown.where(Ballot.eval_batch_id == batch.id, Ballot.voter_id == voter_id, Ballot.state.in_(_MET))
    for state, kind, is_repeat, count in session.execute(mine.group_by(Ballot.state, Pair.kind, Ballot.is_repeat)):
        voted += count * (state is BallotState.VOTED)
        skipped += count * (state is BallotState.SKIPPED)
        held += count * (state is BallotState.OPEN)
        gold_met += count * (kind is PairKind.GOLD)
        repeats_met += count * is_repeat
        main_voted += count * (state is BallotState.VOTED and kind is PairKind.MAIN and not is_repeat)
    pairs, limit_reached = _pairs_left(session, batch, voter_id)
    checks = max(0, 2 * _gold_pairs(session, batch) - gold_met)
    checks += max(0, min(batch.repeat_pairs, main_voted + pairs) - repeats_met)
    left, quota = pairs + checks, batch.rater_limit
    return Progress(
        voted=voted,
        skipped=skipped,
        open=held,
        left=left if quota is None else min(left, max(0, quota - voted - held)),
        quota_reached=quota is not None and voted >= quota,
        limit_reached=limit_reached,
    )


def time_spent(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID) -> float:
    """Seconds this voter read and decided, over all votes that stand."""
    seconds = case((Verdict.seconds > LONGEST_READING, LONGEST_READING), else_=Verdict.seconds)
    query = (
        select(func.sum(seconds))
        .join(Ballot, Ballot.id == Verdict.ballot_id)
        .where(Ballot.eval_batch_id == batch_id, Ballot.voter_id == voter_id, Verdict.retracted_at.is_(None))
    )
    return float(session.scalar(query) or 0)


def _pairs_left(session: Session, batch: EvalBatch, voter_id: uuid.UUID) -> tuple[int, bool]:
    """Pairs with a free slot that this voter may meet, and whether the limit of the batch is reached."""
    shown, other = aliased(Ballot), aliased(Pair)
    met = select(shown.id).join(other, other.id == shown.pair_id)
    met = met.where(shown.eval_batch_id == batch.id, shown.voter_id == voter_id, shown.state.in_(_MET))
    of_batch = (Pair.eval_batch_id == batch.id, Pair.kind.in_(_TAKES_SLOTS), Pair.settled.is_(None))
    takes_slots = select(Pair.prompt_id, Pair.replicate).join(
        Tally, (Tally.pair_id == Pair.id) & (Tally.voter_kind == VoterKind.RATER)
    )
    free = takes_slots.where(*of_batch, Tally.held < batch.votes_per_pair)
    if batch.allow_repeats:
        free = free.where(~met.where(other.id == Pair.id).exists())
    else:  # one pair for each prompt and replicate
        same = (other.prompt_id == Pair.prompt_id) & (other.replicate == Pair.replicate)
        free = free.where(~met.where(same).exists()).distinct()
    left = session.scalar(select(func.count()).select_from(free.subquery())) or 0
    if batch.vote_limit is None:
        return left, False
    held = session.scalar(takes_slots.with_only_columns(func.sum(Tally.held)).where(*of_batch)) or 0
    return min(left, max(0, batch.vote_limit - held)), held >= batch.vote_limit


def _gold_pairs(session: Session, batch: EvalBatch) -> int:
    if not batch.gold_pairs:
        return 0
    gold = select(func.count(Pair.id)).where(Pair.eval_batch_id == batch.id, Pair.kind == PairKind.GOLD)
    return session.scalar(gold) or 0
