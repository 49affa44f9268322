"""The votes on each pair, where counts by prompt do not say enough. Grows with pairs, not with verdicts."""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.pairing import settled_outcome
from app.domain.tally import ClusterSums, Summary, Tally, summarise
from app.domain.terms import Domain, PairKind, VoterKind
from app.models import Pair, Prompt
from app.models import Tally as StoredTally
from app.queries.cells import Cell, cell_of
from app.queries.results import ResultsPage

_NOTHING = Tally(0, 0, 0)


@dataclass(frozen=True)
class PairTally:
    """The votes on one pair from the side of ``second``."""

    pair_id: uuid.UUID
    first_id: uuid.UUID
    second_id: uuid.UUID
    prompt_id: uuid.UUID
    domain: Domain
    category: str
    tally: Tally
    settled: Tally
    flagged: bool | None
    """Whether a text says who wrote it; ``None``: from before texts were looked at."""


def pairs_of_matchups(session: Session, page: ResultsPage) -> tuple[tuple[PairTally, ...], ...]:
    """What each matchup of the results was made from, in their order, without the votes that the rule leaves out."""
    found: dict[tuple[uuid.UUID, uuid.UUID], list[PairTally]] = defaultdict(list)
    for one in pair_tallies(session, page.batch.id, PairKind.MAIN, VoterKind.RATER, page.counted_anew):
        left_out = page.excluded.counts.get(one.pair_id)
        kept = replace(one, tally=one.tally - left_out) if left_out else one
        found[one.first_id, one.second_id].append(kept)
    return tuple(tuple(found[matchup.first_id, matchup.second_id]) for matchup in page.matchups)


def pair_tallies(
    session: Session,
    batch_id: uuid.UUID,
    kind: PairKind,
    voter_kind: VoterKind,
    counts: Mapping[uuid.UUID, Tally] | None = None,
) -> list[PairTally]:
    """Pairs of one kind with the votes of one kind of voter: what is published and what the checks read.

    ``counts``: votes by pair that were counted anew, instead of the stored tallies.
    """
    votes = (StoredTally.second, StoredTally.first, StoredTally.tie, StoredTally.both_bad)
    query = (
        select(
            Pair.id, Pair.first_id, Pair.second_id, Pair.prompt_id, Prompt.domain, Prompt.category, Pair.settled,
            Pair.self_identifies, *votes,
        )
        .join(Prompt, Prompt.id == Pair.prompt_id)
        .join(StoredTally, (StoredTally.pair_id == Pair.id) & (StoredTally.voter_kind == voter_kind), isouter=True)
        .where(Pair.eval_batch_id == batch_id, Pair.kind == kind)
        .order_by(Prompt.position, Pair.replicate)
    )  # fmt: skip
    return [
        PairTally(
            pair_id=row.id,
            first_id=row.first_id,
            second_id=row.second_id,
            prompt_id=row.prompt_id,
            domain=row.domain,
            category=row.category,
            tally=_stored(row) if counts is None else counts.get(row.id, _NOTHING),
            settled=_NOTHING if row.settled is None else Tally.of(settled_outcome(row.settled)),
            flagged=row.self_identifies,
        )
        for row in session.execute(query)
    ]


def _stored(row: Any) -> Tally:
    return of_second(None if row.tie is None else row)


def of_second(stored: StoredTally | None) -> Tally:
    """A stored tally from the challenger's side: ``second`` is the challenger."""
    if stored is None:
        return _NOTHING
    return Tally(wins=stored.second, losses=stored.first, ties=stored.tie, both_bad=stored.both_bad)


def pool(
    pairs: Iterable[PairTally], of: Callable[[PairTally], Tally] = lambda pair: pair.tally
) -> tuple[Tally, Summary | None]:
    """All verdicts of the pairs, and their summary clustered by prompt."""
    by_prompt: dict[uuid.UUID, Tally] = defaultdict(lambda: _NOTHING)
    for pair in pairs:
        by_prompt[pair.prompt_id] += of(pair)
    summary = summarise(ClusterSums.from_tallies(by_prompt.values()))
    return reduce(add, by_prompt.values(), _NOTHING), summary


def cell(label: str, pairs: Iterable[PairTally]) -> Cell:
    """One slice with its rate and both intervals."""
    return cell_of(label, *pool(pairs))
