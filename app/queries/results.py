"""Results: from tallies to win rates with their intervals. Grows with prompts and matchups, not with verdicts."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.intervals import fixed
from app.domain.tally import ClusterSums, PromptCounts, Tally, summarise
from app.domain.terms import Domain
from app.domain.words import headline
from app.models import Checkpoint, EvalBatch
from app.queries.batches import BatchRow, batch_rows
from app.queries.cells import DOMAIN_WORDS, SIMULATED, Cell, category_words, cell_of, live_of
from app.queries.prompt_counts import MatchupCounts, prompt_counts
from app.queries.quality import Excluded, excluded_of


@dataclass(frozen=True)
class Matchup:
    """One challenger (``second``) against what it meets (``first``), whole and by slice."""

    first: str
    second: str
    first_id: uuid.UUID
    second_id: uuid.UUID
    sentence: str
    fixed_sentence: str
    """The same for a finished report, with the fixed interval."""
    whole: Cell
    domains: tuple[Cell, ...]
    categories: tuple[Cell, ...]
    settled: Tally
    """Pairs decided by their texts alone; outside n."""
    with_settled: Cell
    with_everybody: Cell | None
    """With the raters whom the rule of the plan leaves out; ``None`` while it leaves out nobody."""
    counts: MatchupCounts
    """What it was made from."""


@dataclass(frozen=True)
class ResultsPage:
    """The result of one eval batch so far, from the votes of people."""

    batch: BatchRow
    matchups: tuple[Matchup, ...]
    excluded: Excluded
    repeats_allowed: bool
    """Whether one rater may have read the same baseline text in several pairs."""
    counted_anew: Mapping[uuid.UUID, Tally] | None
    """Votes by pair that it was made from instead of the stored tallies."""


def results_page(
    session: Session, batch_id: uuid.UUID, counted_anew: Mapping[uuid.UUID, Tally] | None = None
) -> ResultsPage:
    """The results of one eval batch, from the stored tallies or from the votes of people counted anew by pair.

    Raises:
        NotFoundError: no eval batch has this id.
    """
    rows = batch_rows(session, EvalBatch.id == batch_id)
    if not rows:
        raise NotFoundError("There is no such eval batch. The list of eval batches shows what exists.")
    batch = session.get_one(EvalBatch, batch_id)
    excluded = excluded_of(session, batch)
    names = dict(session.execute(select(Checkpoint.id, Checkpoint.name)).all())
    position = {name: place for place, name in enumerate((rows[0].baseline, *rows[0].challengers))}
    label = SIMULATED if rows[0].simulated_votes else ""
    matchups = [
        _matchup(names[one.first_id], names[one.second_id], one, label)
        for one in prompt_counts(session, batch, excluded.counts, counted_anew)
    ]
    matchups.sort(key=lambda one: (position.get(one.first, 0), position.get(one.second, 0)))
    return ResultsPage(rows[0], tuple(matchups), excluded, batch.allow_repeats, counted_anew)


def _matchup(first: str, second: str, counts: MatchupCounts, label: str) -> Matchup:
    votes = counts.votes
    present = [domain for domain in Domain if (counts.domains == domain).any()]
    categories = list(dict.fromkeys(counts.categories))
    summary = summarise(ClusterSums.from_counts(votes))
    where = DOMAIN_WORDS[present[0]] if len(present) == 1 else None
    said = second, first, votes.total, summary
    everybody = votes + counts.left_out
    return Matchup(
        first=first,
        second=second,
        first_id=counts.first_id,
        second_id=counts.second_id,
        sentence=label + headline(*said, live_of(summary), where),
        fixed_sentence=label + headline(*said, fixed(summary) if summary else None, where, final=True),
        whole=slice_of("all prompts", votes),
        domains=tuple(
            replace(slice_of(DOMAIN_WORDS[one], votes, counts.domains == one), domain=one) for one in present
        ),
        categories=tuple(
            replace(slice_of(category_words(one), votes, counts.categories == one), category=one) for one in categories
        ),
        settled=counts.settled.total,
        with_settled=slice_of("with settled pairs", votes + counts.settled),
        with_everybody=slice_of("with everybody", everybody) if counts.left_out.n.any() else None,
        counts=counts,
    )


def slice_of(label: str, counts: PromptCounts, which: NDArray[np.bool_] | None = None) -> Cell:
    """One slice with its rate and both intervals; ``which`` of the prompts, or all."""
    those = counts if which is None else counts[which]
    return cell_of(label, those.total, summarise(ClusterSums.from_counts(those)))
