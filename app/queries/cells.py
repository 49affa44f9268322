"""One slice of a comparison as pages and reports show it: counts, the win rate, and both intervals."""

from dataclasses import dataclass

from app.domain.intervals import Interval, fixed, live, too_early
from app.domain.tally import Summary, Tally
from app.domain.terms import Domain
from app.domain.words import Standing, verdict

DOMAIN_WORDS = {Domain.IN_DOMAIN: "in-domain", Domain.OUT_OF_DOMAIN: "out-of-domain"}
SIMULATED = "With simulated votes: "
"""Before every sentence that such votes went into, so that none can be quoted without it."""


@dataclass(frozen=True)
class Cell:
    """One slice of a matchup. Intervals and rate are ``None`` while it is too early to say."""

    label: str
    n: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    prompts: int
    win_rate: float | None
    live: Interval | None
    fixed: Interval | None
    standing: Standing
    summary: Summary | None = None
    """What the intervals were made from; ``None`` before the first verdict."""
    domain: Domain | None = None
    """Of the prompts, where it is the slice of a domain."""
    category: str = ""
    """The same of a category, as it is stored."""


def cell_of(label: str, tally: Tally, summary: Summary | None) -> Cell:
    """A slice from what was counted in it."""
    shown = live_of(summary)
    return Cell(
        label=label,
        n=tally.n,
        wins=tally.wins,
        losses=tally.losses,
        ties=tally.ties,
        both_bad=tally.both_bad,
        prompts=summary.prompts if summary else 0,
        win_rate=summary.p if summary else None,
        live=shown,
        fixed=fixed(summary) if summary and shown else None,
        standing=verdict(summary, shown),
        summary=summary,
    )


def live_of(summary: Summary | None) -> Interval | None:
    """The live interval; ``None`` while it is too early for one."""
    return None if summary is None or too_early(summary) else live(summary)


def category_words(category: str) -> str:
    """A category as people read it."""
    return category.replace("_", " ")
