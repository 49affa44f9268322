"""Checkpoints that also meet each other, ranked by their Bradley-Terry strengths."""

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from app.domain.bradley_terry import fit
from app.domain.intervals import Interval
from app.domain.ranking_words import apart_words, ranking_words
from app.domain.terms import Design
from app.queries.cells import SIMULATED
from app.queries.results import ResultsPage


@dataclass(frozen=True)
class Ranked:
    """One checkpoint. ``strength`` and ``error`` are log odds against the mean; ``None`` where nothing links it."""

    name: str
    strength: float | None
    error: float | None
    interval: Interval | None
    best: int
    """The best rank that is not excluded, 1 for the strongest, and the worst."""
    worst: int
    component: int
    """Those with the same number are linked by comparisons; ranks are told within."""


@dataclass(frozen=True)
class RankedSet:
    """At least two checkpoints that votes link, strongest first."""

    sentence: str
    checkpoints: tuple[Ranked, ...]


@dataclass(frozen=True)
class Ranking:
    """Strongest first. Not ``connected``: there is more than one set of checkpoints, and no ranking across."""

    connected: bool
    checkpoints: tuple[Ranked, ...]
    label: str = ""
    """Before every sentence, where simulated votes are among them."""

    @property
    def sets(self) -> tuple[RankedSet, ...]:
        """Those within which ranks can be told."""
        found = (tuple(rows) for _, rows in groupby(self.checkpoints, key=lambda row: row.component))
        return tuple(
            RankedSet(self.label + ranking_words([(row.name, row.best, row.worst) for row in rows]), rows)
            for rows in found
            if len(rows) > 1
        )

    @property
    def apart(self) -> str:
        """What cannot be ranked against what, in words; empty where everything can."""
        return apart_words(len(self.sets), [row.name for row in self.checkpoints if row.strength is None])


def ranking(page: ResultsPage) -> Ranking | None:
    """``None`` where all meet one baseline only: their win rates are the ranking there."""
    if page.batch.design is not Design.ROUND_ROBIN or not page.matchups:
        return None
    names = [page.batch.baseline, *page.batch.challengers]
    place = {name: number for number, name in enumerate(names)}
    sizes = [one.counts.prompts.size for one in page.matchups]
    counts = [one.counts.votes for one in page.matchups]
    found = fit(
        np.repeat([place[one.first] for one in page.matchups], sizes),
        np.repeat([place[one.second] for one in page.matchups], sizes),
        np.concatenate([one.counts.prompts for one in page.matchups]),
        np.concatenate([one.losses for one in counts]),
        np.concatenate([one.wins for one in counts]),
        np.concatenate([one.ties for one in counts]),
        checkpoints=len(names),
    )
    ranks = found.ranks()
    rows = [
        Ranked(
            name=name,
            strength=_number(found.strength[number]),
            error=_number(found.error[number]),
            interval=found.interval(number),
            best=ranks[number][0],
            worst=ranks[number][1],
            component=int(found.component[number]),
        )
        for number, name in enumerate(names)
    ]
    rows.sort(key=lambda row: (row.component, row.strength is None, -(row.strength or 0.0), row.name))
    return Ranking(found.connected, tuple(rows), SIMULATED if page.batch.simulated_votes else "")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
