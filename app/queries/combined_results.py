"""What people prefer, with every verdict of judges helping: one estimate a matchup, and what a human vote is worth."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from app.domain.combined import combine
from app.domain.judge_words import combined_words
from app.domain.position import outcome_of
from app.domain.tally import Tally
from app.domain.terms import Outcome
from app.queries.cells import Cell, cell_of, live_of
from app.queries.pair_tallies import PairTally


@dataclass(frozen=True)
class CombinedResult:
    """People and judges together in one matchup. ``cell`` counts the judged pairs that people voted on."""

    sentence: str
    cell: Cell
    weight: float
    """How far judges are trusted: 0 not at all, 1 fully."""
    judged: int
    """Pairs that judges have seen, with votes of people or without."""
    multiplier: float
    """As how many human votes each one counts, with the judges beside it."""


def combined_result(
    challenger: str,
    baseline: str,
    pairs: Sequence[PairTally],
    judges: Collection[Mapping[uuid.UUID, float]],
    label: str = "",
) -> CombinedResult | None:
    """From the votes of people on each pair and the value that it has for each judge.

    ``None`` below two pairs that both have seen.
    """
    means = {
        pair.pair_id: fmean(values)
        for pair in pairs
        if (values := [of_judge[pair.pair_id] for of_judge in judges if pair.pair_id in of_judge])
    }
    seen = [pair for pair in pairs if pair.pair_id in means]
    people = [pair.tally.score / pair.tally.n if pair.tally.n else None for pair in seen]
    found = combine([pair.prompt_id for pair in seen], people, [means[pair.pair_id] for pair in seen])
    if found is None:
        return None
    summary = found.summary
    outcomes = [outcome_of(value) for value in people if value is not None]
    counts = (outcomes.count(outcome) for outcome in (Outcome.SECOND, Outcome.FIRST, Outcome.TIE))
    shown = live_of(summary)
    return CombinedResult(
        sentence=label + combined_words(challenger, baseline, summary, shown, found.multiplier),
        cell=cell_of("people and judges", Tally(*counts), summary),
        weight=found.weight,
        judged=found.judged,
        multiplier=found.multiplier,
    )
