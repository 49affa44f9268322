"""How far a voter is in an eval batch, and how much it still has for them. Blind side: counts, and no names.

Gold pairs and repeats count like every other ballot, so that no number on the page tells which ballot is a check.
"""

import math
import uuid
from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from app.domain.terms import BallotState, PairKind, VoterKind
from app.models import Ballot, EvalBatch, Pair, Verdict
from app.queries.deck import deck_of

LONGEST_READING = 600
"""Seconds of one ballot that are taken for reading: a laptop closed over night is not."""

_MET = (BallotState.OPEN, BallotState.VOTED, BallotState.SKIPPED)


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
    deck = deck_of(session, batch, voter_id, VoterKind.RATER)
    slots = math.inf if batch.vote_limit is None else max(0, batch.vote_limit - deck.held)
    pairs = int(min(deck.places, slots))
    checks = max(0, 2 * _gold_pairs(session, batch) - gold_met)
    checks += max(0, min(batch.repeat_pairs, main_voted + pairs) - repeats_met)
    left, quota = pairs + checks, batch.rater_limit
    return Progress(
        voted=voted,
        skipped=skipped,
        open=held,
        left=left if quota is None else min(left, max(0, quota - voted - held)),
        quota_reached=quota is not None and voted >= quota,
        limit_reached=not slots,
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


def _gold_pairs(session: Session, batch: EvalBatch) -> int:
    if not batch.gold_pairs:
        return 0
    gold = select(func.count(Pair.id)).where(Pair.eval_batch_id == batch.id, Pair.kind == PairKind.GOLD)
    return session.scalar(gold) or 0
