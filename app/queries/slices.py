"""Domains and categories looked at together: with many ranges, some leave out one half by chance alone."""

from dataclasses import dataclass

from app.domain.intervals import Interval
from app.domain.multiplicity import EVEN, adjusted, simultaneous_live
from app.queries.cells import SIMULATED, Cell
from app.queries.results import Matchup, ResultsPage

_MOST_NAMED = 8
"""Slices that a sentence names; of more it says how many they are."""


@dataclass(frozen=True)
class Slice:
    """One domain or category of one matchup."""

    matchup: Matchup
    cell: Cell
    """As the matchup shows it, with ranges of its own."""
    live: Interval | None
    """Wider than its own: all of them hold together at every look (Bonferroni). ``None`` while it is too early."""
    holm: float | None
    """Of a finished report: the p-value of one half, adjusted for all slices (Holm)."""

    @property
    def baseline(self) -> str:
        """What the challenger meets."""
        return self.matchup.first

    @property
    def challenger(self) -> str:
        """Whose win rate it is."""
        return self.matchup.second

    @property
    def label(self) -> str:
        """Which prompts it is about."""
        return self.cell.label

    @property
    def stands_out(self) -> bool:
        """Whether it differs from one half though so many were looked at."""
        return self.live is not None and not self.live.low <= EVEN <= self.live.high


@dataclass(frozen=True)
class Slices:
    """All slices that a page of results shows. Without two of them there is nothing to look at together."""

    rows: tuple[Slice, ...]
    sentence: str


def slices(page: ResultsPage) -> Slices:
    """The slices of all matchups; a domain or category that is the only one is the whole and no slice."""
    found = [
        (matchup, cell)
        for matchup in page.matchups
        for group in (matchup.domains, matchup.categories)
        if len(group) > 1
        for cell in group
    ]
    summaries = [cell.summary for _, cell in found]
    rows = tuple(
        Slice(matchup, cell, together, holm)
        for (matchup, cell), together, holm in zip(
            found, simultaneous_live(summaries), adjusted(summaries), strict=True
        )
    )
    return Slices(rows, _sentence(rows, several=len(page.matchups) > 1, simulated=bool(page.batch.simulated_votes)))


def _sentence(rows: tuple[Slice, ...], *, several: bool, simulated: bool) -> str:
    told = sum(row.live is not None for row in rows)
    if not told:
        return ""
    names = [f"{row.label} for {row.challenger}" if several else row.label for row in rows if row.stands_out]
    found = f"{', '.join(names)} {'differs' if len(names) == 1 else 'differ'}" if names else "none of them differs"
    if len(names) > _MOST_NAMED:
        found = f"{len(names)} of them differ"
    label = SIMULATED if simulated else ""
    those = f"{told} have ranges of their own" if told > 1 else "1 has a range of its own"
    return f"{label}Of {len(rows)} domains and categories {those}. Looked at all together, {found} from 50%."
