"""How each win rate moved while votes came in: from the votes themselves, or from a snapshot where they are many."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from sqlalchemy import String, func, select, type_coerce
from sqlalchemy.orm import Session

from app.domain.intervals import Interval
from app.domain.tally import TIE
from app.domain.terms import BallotState, Outcome, PairKind, VoterKind
from app.domain.trend import Point, trend
from app.models import Ballot, Pair, Snapshot, Tally, Verdict
from app.queries.results import Matchup, ResultsPage

MOST_READ = 20_000
"""Votes of an eval batch that a page reads one by one; beyond them it takes the snapshot."""

Key = tuple[uuid.UUID, uuid.UUID]
_VALUES = {Outcome.SECOND.value: 1.0, Outcome.FIRST.value: 0.0, Outcome.TIE.value: TIE}
_ROWS = 50_000


def trends(session: Session, page: ResultsPage) -> tuple[tuple[Point, ...], ...]:
    """The points of each matchup of the results, in their order; the last is what the results say now."""
    votes = standing(session, page.batch.id)
    snapshot = session.get(Snapshot, page.batch.id) if votes > MOST_READ else None
    checked = page.counted_anew is not None and snapshot is not None and snapshot.votes == votes
    if votes <= MOST_READ or checked:  # whoever checks what is published does not believe the snapshot either
        found: Mapping[Key, tuple[Point, ...]] = trends_of(session, page.batch.id, page.excluded.reasons)
    else:
        found = _read(snapshot.trends) if snapshot else {}
    return tuple(_up_to_now(found.get((one.first_id, one.second_id), ()), one) for one in page.matchups)


def standing(session: Session, batch_id: uuid.UUID) -> int:
    """Votes of people that stand on main pairs, with those of raters whom a rule leaves out."""
    query = (
        select(func.coalesce(func.sum(Tally.first + Tally.second + Tally.tie), 0))
        .join(Pair, Pair.id == Tally.pair_id)
        .where(Tally.eval_batch_id == batch_id, Tally.voter_kind == VoterKind.RATER, Pair.kind == PairKind.MAIN)
    )
    return int(session.scalar(query) or 0)


def trends_of(
    session: Session, batch_id: uuid.UUID, left_out: Collection[uuid.UUID] = ()
) -> dict[Key, tuple[Point, ...]]:
    """The points of every two checkpoints that meet, from the votes one by one. Grows with votes.

    ``left_out``: voters whose votes do not count.
    """
    first, second, prompt, outcome = (
        type_coerce(column, String) for column in (Pair.first_id, Pair.second_id, Pair.prompt_id, Verdict.outcome)
    )
    query = (
        select(first, second, prompt, outcome)
        .join(Ballot, Ballot.id == Verdict.ballot_id)
        .join(Pair, Pair.id == Ballot.pair_id)
        .where(Ballot.eval_batch_id == batch_id, Ballot.voter_kind == VoterKind.RATER, Pair.kind == PairKind.MAIN)
        .where(Ballot.state == BallotState.VOTED, Ballot.is_repeat.is_(False))
        .order_by(Verdict.cast_at, Verdict.id)
        .execution_options(yield_per=_ROWS)
    )
    if left_out:
        query = query.where(Ballot.voter_id.not_in(list(left_out)))
    numbers: dict[Any, int] = {}
    prompts: dict[tuple[Any, Any], list[int]] = defaultdict(list)
    values: dict[tuple[Any, Any], list[float]] = defaultdict(list)
    for one, other, about, said in session.execute(query):
        prompts[one, other].append(numbers.setdefault(about, len(numbers)))
        values[one, other].append(_VALUES[said])
    return {
        (uuid.UUID(str(one)), uuid.UUID(str(other))): trend(np.array(prompts[one, other]), np.array(y))
        for (one, other), y in values.items()
    }


def stored_form(found: Mapping[Key, tuple[Point, ...]]) -> list[Any]:
    """Points as a snapshot keeps them."""
    return [
        [str(first), str(second), [[one.votes, one.win_rate, *(one.live or (None, None))] for one in points]]
        for (first, second), points in found.items()
    ]


def _read(stored: list[Any]) -> dict[Key, tuple[Point, ...]]:
    return {
        (uuid.UUID(first), uuid.UUID(second)): tuple(
            Point(votes, rate, None if low is None else Interval(low, high)) for votes, rate, low, high in points
        )
        for first, second, points in stored
    }


def _up_to_now(points: tuple[Point, ...], matchup: Matchup) -> tuple[Point, ...]:
    """A snapshot may be of a while ago: what the results say now is the last point."""
    whole = matchup.whole
    if whole.win_rate is None:
        return ()
    earlier = tuple(point for point in points if point.votes < whole.n)
    return (*earlier, Point(whole.n, whole.win_rate, whole.live))
