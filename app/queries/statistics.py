"""What only single votes tell: how a win rate moved, where its noise comes from, how far raters agree.

From the votes themselves, or from a snapshot where they are many.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.agreement import OUTCOMES, Agreement, agreement
from app.domain.panel import Panel, TwoVoters, krippendorffs_alpha, nominal, panel, two_voters
from app.domain.terms import PairKind, VoterKind
from app.domain.trend import Point, trend
from app.domain.variance import VarianceCard, variance_card, what_to_buy
from app.models import EvalBatch, Pair, Snapshot, Tally, Voter
from app.queries.results import Matchup, ResultsPage
from app.queries.votes import Key, Votes, votes_of

MOST_READ = 20_000
"""Votes of an eval batch that a page reads one by one; beyond them it takes the snapshot."""

MOST_RATERS = 12
"""Raters who are compared two by two; beyond, what two drawn at random have in common says more."""

_CATEGORIES = len(OUTCOMES)


@dataclass(frozen=True)
class Raters:
    """Two raters on the pairs that both voted on."""

    one: uuid.UUID
    other: uuid.UUID
    agreed: Agreement
    found: TwoVoters
    """The same beyond chance, with intervals."""


@dataclass(frozen=True)
class OfMatchup:
    """The statistics of one matchup."""

    first_id: uuid.UUID
    second_id: uuid.UUID
    points: tuple[Point, ...]
    """The win rate over votes; the last is what the results say now."""
    variance: VarianceCard
    advice: str
    """What to buy with the next votes; empty where the components are not known."""


@dataclass(frozen=True)
class Statistics:
    """What single votes of one eval batch tell."""

    matchups: tuple[OfMatchup, ...]
    panel: Panel | None
    """All raters as a panel, outcomes taken as names; ``None`` before the first vote."""
    alpha_ordinal: float | None
    """Krippendorff's alpha that takes the tie as lying between the two sides."""
    raters: tuple[Raters, ...]
    """Each two of them, where they are few."""
    voters: int = 0
    """How many have voted."""

    def of(self, matchup: Matchup) -> OfMatchup | None:
        """Of a matchup; ``None`` where nobody has voted in it."""
        key = (matchup.first_id, matchup.second_id)
        return next((one for one in self.matchups if (one.first_id, one.second_id) == key), None)


NOTHING = Statistics((), None, None, ())
_STORED = TypeAdapter(Statistics)


def statistics(session: Session, page: ResultsPage) -> Statistics:
    """The statistics beside these results. A snapshot may be of a while ago: see ``points_up_to_now``."""
    batch = session.get_one(EvalBatch, page.batch.id)
    votes = page.batch.votes  # counted as ``standing`` counts them
    snapshot = session.get(Snapshot, batch.id) if votes > MOST_READ else None
    checked = page.counted_anew is not None and snapshot is not None and snapshot.votes == votes
    if votes <= MOST_READ or checked:  # whoever checks what is published does not believe the snapshot either
        return statistics_of(session, batch, page.excluded.reasons)
    return _STORED.validate_python(snapshot.content) if snapshot else NOTHING


def points_up_to_now(found: Statistics, matchup: Matchup) -> tuple[Point, ...]:
    """How the win rate of a matchup moved, up to what the results say now."""
    whole, own = matchup.whole, found.of(matchup)
    if whole.win_rate is None:
        return ()
    earlier = tuple(point for point in own.points if point.votes < whole.n) if own else ()
    return (*earlier, Point(whole.n, whole.win_rate, whole.live))


def standing(session: Session, batch_id: uuid.UUID) -> int:
    """Votes of people that stand on main pairs, with those of raters whom a rule leaves out."""
    query = (
        select(func.coalesce(func.sum(Tally.first + Tally.second + Tally.tie), 0))
        .join(Pair, Pair.id == Tally.pair_id)
        .where(Tally.eval_batch_id == batch_id, Tally.voter_kind == VoterKind.RATER, Pair.kind == PairKind.MAIN)
    )
    return int(session.scalar(query) or 0)


def statistics_of(session: Session, batch: EvalBatch, left_out: Collection[uuid.UUID] = ()) -> Statistics:
    """From every vote. ``left_out``: voters whose votes do not count."""
    votes = votes_of(session, batch.id, left_out)
    if not votes.y.size:
        return NOTHING
    pairs = int(votes.pair.max()) + 1
    counts = np.bincount(votes.pair * _CATEGORIES + _category(votes), minlength=pairs * _CATEGORIES)
    counts = counts.reshape(pairs, _CATEGORIES)
    prompts = _prompt_of(votes, pairs)
    return Statistics(
        matchups=tuple(_matchup(votes[votes.matchup == number], key) for number, key in enumerate(votes.matchups)),
        panel=panel(prompts, counts, distance=nominal),
        alpha_ordinal=krippendorffs_alpha(counts),
        raters=tuple(_raters(votes)) if len(votes.voters) <= MOST_RATERS else (),
        voters=len(votes.voters),
    )


def rater_names(session: Session, found: Statistics) -> dict[uuid.UUID, str]:
    """What those are called who are compared two by two."""
    raters = {voter for row in found.raters for voter in (row.one, row.other)}
    return dict(session.execute(select(Voter.id, Voter.name).where(Voter.id.in_(raters))).all())


def stored_form(found: Statistics) -> dict[str, Any]:
    """As a snapshot keeps them."""
    stored: dict[str, Any] = _STORED.dump_python(found, mode="json")
    return stored


def _matchup(votes: Votes, key: Key) -> OfMatchup:
    card = variance_card(votes.y, votes.prompt, votes.replicate, votes.voter)
    prompts = np.unique(votes.prompt).size
    seeds = round(np.unique(votes.prompt * (votes.replicate.max() + 1) + votes.replicate).size / prompts)
    each = max(1, round(votes.y.size / (prompts * seeds)))
    advice = what_to_buy(card.components, prompts, seeds, each) if card.components and seeds > 1 else ""
    return OfMatchup(key[0], key[1], trend(votes.prompt, votes.y), card, advice)


def _raters(votes: Votes) -> list[Raters]:
    pairs = int(votes.pair.max()) + 1
    said = np.full((len(votes.voters), pairs), -1)
    said[votes.voter, votes.pair] = _category(votes)
    prompts = _prompt_of(votes, pairs)
    found = []
    for one, other in combinations(range(len(votes.voters)), 2):
        both = (said[one] >= 0) & (said[other] >= 0)
        if not both.any():
            continue
        ours, theirs = said[one][both], said[other][both]
        found.append(
            Raters(
                one=votes.voters[one],
                other=votes.voters[other],
                agreed=agreement(
                    (prompt, OUTCOMES[our], OUTCOMES[their])
                    for prompt, our, their in zip(prompts[both].tolist(), ours, theirs, strict=True)
                ),
                found=two_voters(prompts[both], ours, theirs),
            )
        )
    return found


def _category(votes: Votes) -> Any:
    """The place of each vote in ``OUTCOMES``, from the side of ``first`` to that of ``second``: shape (N,)."""
    return (2 * votes.y).astype(np.intp)


def _prompt_of(votes: Votes, pairs: int) -> Any:
    """The prompt of each pair: shape (pairs,)."""
    prompts = np.zeros(pairs, dtype=np.intp)
    prompts[votes.pair] = votes.prompt
    return prompts
