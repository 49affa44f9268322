"""Which comparisons of an eval batch a reader looks at: few are shown in full, many as one line each."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace

from app.domain.crowd_words import crowd_words
from app.domain.errors import NotFoundError
from app.domain.terms import Design
from app.queries.cells import SIMULATED, Cell
from app.queries.results import Matchup, ResultsPage

MOST_IN_FULL = 6
"""Comparisons that are shown one after the other; of more, each is a line that leads to its own page."""


@dataclass(frozen=True)
class Wanted:
    """Comparisons with this checkpoint, or only the one of these two; without any: all."""

    checkpoint: uuid.UUID | None = None
    against: uuid.UUID | None = None


@dataclass(frozen=True)
class Shown:
    """The comparisons that were asked for."""

    wanted: Wanted
    page: ResultsPage
    """With these comparisons alone."""
    of: int
    """How many the eval batch has."""
    sentence: str
    """What a crowd of them says; empty where each is shown in full."""
    lines: tuple[Cell, ...]
    """One line each of a crowd, called by what differs in their names."""
    prefix: str
    """What the names of all challengers of a crowd begin with, which is left out of the lines."""

    @property
    def is_crowded(self) -> bool:
        """Whether they are too many to show each in full."""
        return len(self.page.matchups) > MOST_IN_FULL

    @property
    def is_all(self) -> bool:
        """Whether nothing was left out."""
        return len(self.page.matchups) == self.of


def shown_of(page: ResultsPage, wanted: Wanted) -> Shown:
    """The comparisons of ``page`` that were asked for.

    Raises:
        NotFoundError: there are none.
    """
    asked = {one for one in (wanted.checkpoint, wanted.against) if one is not None}
    kept = tuple(one for one in page.matchups if asked <= {one.first_id, one.second_id})
    if asked and not kept:
        raise NotFoundError("These checkpoints do not meet in this eval batch. Its results list those that do.")
    everything = replace(page, matchups=kept)
    if len(kept) <= MOST_IN_FULL:
        return Shown(wanted, everything, len(page.matchups), "", (), "")
    star = page.batch.design is Design.STAR
    prefix = _prefix({name for one in kept for name in (one.first, one.second)} - {page.batch.baseline})
    label = SIMULATED if page.batch.simulated_votes else ""
    return Shown(
        wanted=wanted,
        page=everything,
        of=len(page.matchups),
        sentence=label + crowd_words([one.whole.standing for one in kept], kept[0].first if star else None),
        lines=tuple(replace(one.whole, label=_called(one, prefix, star=star)) for one in kept),
        prefix=prefix,
    )


def sentences_of(page: ResultsPage) -> tuple[str, ...]:
    """What an eval batch says: a sentence for each comparison, or one for a crowd of them."""
    crowd = shown_of(page, Wanted()).sentence
    return (crowd,) if crowd else tuple(one.sentence for one in page.matchups)


def _prefix(names: Collection[str]) -> str:
    """What stands before the last stroke, where that is the same in all names: mostly the run they are of."""
    before = {name.rpartition("/")[0] for name in names}
    return f"{before.pop()}/" if len(before) == 1 and "" not in before else ""


def _called(matchup: Matchup, prefix: str, *, star: bool) -> str:
    one, other = (name.removeprefix(prefix) for name in (matchup.second, matchup.first))
    return one if star else f"{one} against {other}"
