"""Which comparisons of an eval batch a reader looks at: few are shown in full, many as one line each."""

import uuid
from dataclasses import dataclass, replace

from app.domain.crowd_words import crowd_words
from app.domain.errors import NotFoundError
from app.domain.terms import Design
from app.queries.cells import SIMULATED, Cell
from app.queries.results import ResultsPage

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
    """One line each, by challenger, where a crowd of them has the same baseline."""

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
    crowded = len(kept) > MOST_IN_FULL
    baseline = kept[0].first if crowded and page.batch.design is Design.STAR else None
    label = SIMULATED if page.batch.simulated_votes else ""
    return Shown(
        wanted=wanted,
        page=replace(page, matchups=kept),
        of=len(page.matchups),
        sentence=label + crowd_words([one.whole.standing for one in kept], baseline) if crowded else "",
        lines=tuple(replace(one.whole, label=one.second) for one in kept) if baseline is not None else (),
    )
