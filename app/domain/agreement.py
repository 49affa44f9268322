"""How far two voters agree on the same pairs: raw agreement, Cohen's kappa, and the table of both.

kappa = (p_o - p_e) / (1 - p_e): the agreement beyond what two voters would reach who keep their own shares of
outcomes and do not look (Cohen 1960). Raw agreement is a mean over pairs, so its interval is the one of win rates,
clustered by prompt.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from app.domain.intervals import Interval, fixed, live, too_early
from app.domain.tally import ClusterSums, Tally, summarise
from app.domain.terms import Outcome

OUTCOMES = (Outcome.FIRST, Outcome.TIE, Outcome.SECOND)
"""The rows and columns of a table: from one side over the tie to the other."""

_SAME = 1e-12
_TWO = 2

Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two voters on the pairs that both voted on.

    Intervals are ``None`` while it is too early, kappa where both only ever give the same single outcome.
    """

    n: int
    raw: float | None
    kappa: float | None
    live: Interval | None
    fixed: Interval | None
    table: Table
    """Pairs by what the one (row) and the other (column) said, in the order of ``OUTCOMES``."""


def agreement(pairs: Iterable[tuple[Hashable, Outcome, Outcome]]) -> Agreement:
    """Of pairs: the prompt, and what each of the two said."""
    return _of((prompt, {(one, other): 1.0}) for prompt, one, other in pairs)


def among(pairs: Iterable[tuple[Hashable, Tally]]) -> Agreement:
    """Two people drawn at random from those who voted on a pair, over pairs with at least two votes.

    The shares of each pair follow from its counts alone: of n (n - 1) ordered couples, w (w - 1) both preferred the
    challenger and w l each another side.
    """
    return _of((prompt, _couples(tally)) for prompt, tally in pairs if tally.n >= _TWO)


def cohens_kappa(table: ArrayLike) -> float | None:
    """Agreement beyond chance, for a square table of counts; ``None`` where chance alone would give all of it."""
    shares = np.asarray(table, dtype=np.float64)
    total = shares.sum()
    if total == 0:
        return None
    shares = shares / total
    observed, expected = float(np.trace(shares)), float(shares.sum(axis=1) @ shares.sum(axis=0))
    return None if 1 - expected < _SAME else (observed - expected) / (1 - expected)


def _couples(tally: Tally) -> dict[tuple[Outcome, Outcome], float]:
    counts = {Outcome.FIRST: tally.losses, Outcome.TIE: tally.ties, Outcome.SECOND: tally.wins}
    couples = tally.n * (tally.n - 1)
    return {
        (one, other): counts[one] * (counts[other] - (one is other)) / couples
        for one, other in product(OUTCOMES, OUTCOMES)
    }


def _of(pairs: Iterable[tuple[Hashable, Mapping[tuple[Outcome, Outcome], float]]]) -> Agreement:
    table: dict[tuple[Outcome, Outcome], float] = defaultdict(float)
    agreed: dict[Hashable, list[float]] = defaultdict(list)
    for prompt, shares in pairs:
        for cell, share in shares.items():
            table[cell] += share
        agreed[prompt].append(min(1.0, sum(share for (one, other), share in shares.items() if one is other)))
    rows = tuple(tuple(table[one, other] for other in OUTCOMES) for one in OUTCOMES)
    summary = summarise(ClusterSums.from_observations(list(agreed.values())))
    shown = summary is not None and not too_early(summary)
    return Agreement(
        n=summary.n if summary else 0,
        raw=summary.p if summary else None,
        kappa=cohens_kappa(rows),
        live=live(summary) if summary and shown else None,
        fixed=fixed(summary) if summary and shown else None,
        table=rows,
    )
