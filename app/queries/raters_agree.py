"""How far the raters of an eval batch agree: as a panel, and two by two where they are few."""

import uuid
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.domain.panel import Panel
from app.domain.panel_words import panel_words
from app.queries.cells import SIMULATED
from app.queries.results import ResultsPage
from app.queries.statistics import Raters, Statistics, rater_names


@dataclass(frozen=True)
class Rater:
    """Somebody who voted."""

    id: uuid.UUID
    name: str


@dataclass(frozen=True)
class RatersAgree:
    """All raters as a panel, and each two of them by name."""

    sentence: str
    panel: Panel
    alpha_ordinal: float | None
    raters: tuple[Rater, ...]
    """Those who are compared two by two, by name; none where they are many."""
    rows: tuple[tuple[Rater, Rater, Raters], ...]
    """Each two of them that have a pair in common."""

    def between(self, one: Rater, other: Rater) -> Raters | None:
        """Two of them; ``None`` without a pair in common, and for one alone."""
        return next((row for *two, row in self.rows if one != other and one in two and other in two), None)


def raters_agree(session: Session, page: ResultsPage, found: Statistics) -> RatersAgree | None:
    """``None`` before the first vote."""
    if found.panel is None:
        return None
    names = rater_names(session, found)
    raters = [Rater(*one) for one in sorted(names.items(), key=lambda one: (one[1], one[0]))]
    compared = {frozenset((row.one, row.other)): row for row in found.raters}
    rows = [
        (one, other, row)
        for number, one in enumerate(raters)
        for other in raters[number + 1 :]
        if (row := compared.get(frozenset((one.id, other.id)))) is not None
    ]
    label = SIMULATED if page.batch.simulated_votes else ""
    sentence = panel_words(found.panel, found.voters)
    return RatersAgree(
        sentence=label + sentence if sentence else "",
        panel=found.panel,
        alpha_ordinal=found.alpha_ordinal,
        raters=tuple(raters),
        rows=tuple(rows),
    )
