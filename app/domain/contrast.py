"""The difference of two win rates: in- against out-of-domain, one epoch against another, a batch against its re-run.

Two intervals that overlap say nothing about whether two rates differ, so a difference has an interval of its own:

    fixed, no prompt in common     square and add (Newcombe 1998, method 10), from the two fixed intervals:
                                   d - sqrt((p₁-l₁)² + (u₂-p₂)²)  to  d + sqrt((u₁-p₁)² + (p₂-l₂)²)
    fixed, prompts in common       d ± t(G-1) sqrt(G/(G-1) Σ_g (r₁g/n₁ - r₂g/n₂)²),  r_g = Σ (y - p) on prompt g:
                                   what a prompt does to both rates cancels. G is that of the side with fewer prompts
    live                           square and add from the two live intervals

Fixed ones cover in 92% or more from 10 prompts a side on. The live one is read after every vote; that it ever misses
was simulated, not proved: in below 4% of studies over 5 to 57 prompts and 3 to 10 votes a prompt, whichever side is
voted on first. With prompts in common, rates that move against each other would break it; there the correlation c over
prompts less one standard error 1/sqrt(G), where that is negative, enters as in Newcombe's paired method,
d - sqrt((p₁-l₁)² + (u₂-p₂)² - 2 c (p₁-l₁)(u₂-p₂)). A positive one is not made use of: with few prompts it is too
uncertain.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit
from scipy.stats import fisher_exact

from app.domain import intervals
from app.domain.intervals import Interval, too_early
from app.domain.resampling import sum_by
from app.domain.tally import TIE, ClusterSums, Summary, Tally, summarise
from app.domain.words import shortage

NOTHING = Interval(-1.0, 1.0)
"""No difference can be excluded."""

_SAME = 1e-12

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Side:
    """The verdicts behind one of the two rates: sums over each prompt, and what these prompts are called, in order.

    A prompt that both sides have must be called the same on both, or it counts as two.
    """

    prompts: tuple[Hashable, ...]
    sums: ClusterSums

    @classmethod
    def from_tallies(cls, tallies: Mapping[Hashable, Tally]) -> Self:
        """One tally a prompt; prompts without a verdict are dropped."""
        kept = {prompt: tally for prompt, tally in tallies.items() if tally.n > 0}
        return cls(tuple(kept), ClusterSums.from_tallies(kept.values()))

    @classmethod
    def from_observations(cls, prompts: ArrayLike, y: ArrayLike) -> Self:
        """One entry a verdict in both: the name of its prompt, and y in [0, 1]. Raises ``ValueError`` otherwise."""
        values = np.asarray(y, dtype=np.float64)
        if not np.all((values >= 0) & (values <= 1)):
            raise ValueError("an observation lies between 0 and 1")
        names = np.asarray(prompts)
        rows = np.column_stack([np.ones_like(values), values, values * values, values != TIE]).astype(np.float64)
        n, total, squares, decisive = sum_by(names, rows).T
        return cls(tuple(np.unique(names).tolist()), ClusterSums(n, total, squares, decisive))


@dataclass(frozen=True, slots=True)
class Contrast:
    """The win rate of the one side less that of the other, ``gap``, and how sure it is.

    The intervals lie in [-1, 1] and are ``None`` while it is too early for either side. ``shared`` counts prompts with
    verdicts on both sides. ``fisher`` is the exact p-value of the raw counts, about these very prompts; ``None``
    where some verdict is neither a win nor a loss.
    """

    one: Summary
    other: Summary
    gap: float
    shared: int
    fixed: Interval | None
    live: Interval | None
    fisher: float | None


def contrast(one: Side, other: Side, alpha: float = 0.05) -> Contrast | None:
    """How far the win rate of the one side lies above that of the other; ``None`` where a side has no verdict."""
    first, second = summarise(one.sums), summarise(other.sums)
    if first is None or second is None:
        return None
    early = too_early(first) or too_early(second)
    ours, theirs = _moves(one, first), _moves(other, second)
    shared = len(ours.keys() & theirs.keys())
    return Contrast(
        one=first,
        other=second,
        gap=first.p - second.p,
        shared=shared,
        fixed=None if early else _fixed(first, second, ours, theirs, alpha),
        live=None if early else live(first, second, _least_correlation(ours, theirs), alpha),
        fisher=fisher(one.sums, other.sums),
    )


def fixed(one: Summary, other: Summary, alpha: float = 0.05) -> Interval:
    """The interval of the difference of two rates from different prompts, read once."""
    return _square_and_add(one, other, intervals.fixed(one, alpha), intervals.fixed(other, alpha))


def live(one: Summary, other: Summary, correlation: float = 0.0, alpha: float = 0.05) -> Interval:
    """The interval of the difference that may be read after every vote.

    ``correlation`` of the two rates: 0 for different prompts; for the same ones not above what can be vouched for.
    """
    return _square_and_add(one, other, intervals.live(one, alpha), intervals.live(other, alpha), correlation)


def paired(ours: ArrayLike, theirs: ArrayLike, gap: float, df: int, alpha: float = 0.05) -> Interval:
    """The clustered interval of ``gap``, read once.

    ``ours`` and ``theirs``: shape (G,), what each prompt moves either rate by, Σ (y - p) / n, and 0 where it has no
    verdict on that side. ``df``: degrees of freedom.
    """
    moved = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    half = -float(stdtrit(df, alpha / 2)) * math.sqrt((df + 1) / df * float(moved @ moved))
    return Interval(max(-1.0, gap - half), min(1.0, gap + half))


def fisher(one: ClusterSums, other: ClusterSums) -> float | None:
    """Fisher's exact test of wins and losses; ``None`` where any verdict is neither."""
    counts = []
    for sums in (one, other):
        n, wins = float(sums.n.sum()), float(sums.total.sum())
        if abs(float(sums.squares.sum()) - wins) > _SAME * max(n, 1):
            return None
        counts.append([round(wins), round(n - wins)])
    return float(fisher_exact(counts).pvalue)


def sentence(found: Contrast, interval: Interval | None, one: str, other: str) -> str:
    """The difference in words.

    ``interval`` is the fixed or the live one of ``found``; ``one`` and ``other`` say where each rate holds, in words
    that may begin a sentence: "in-domain", "on coding", "with epoch-2".
    """
    place = one[:1].upper() + one[1:]
    said = f"{place} the win rate is {_compared(found.gap)} {other}"
    if interval is None:
        where, short = (one, found.one) if too_early(found.one) else (other, found.other)
        return f"{said}. Too early for a range: {where} {shortage(short)}."
    said = f"{said}; on prompts like these the difference could be anywhere {_range(interval)}."
    if not interval.low <= 0 <= interval.high:
        return said
    if abs(found.gap) <= _SAME:
        return f"{said} Neither is ahead."
    return f"{said} Too early to call it {_direction(found.gap)}."


def _fixed(
    first: Summary, second: Summary, ours: dict[Hashable, float], theirs: dict[Hashable, float], alpha: float
) -> Interval:
    if not ours.keys() & theirs.keys():
        return fixed(first, second, alpha)
    prompts = ours.keys() | theirs.keys()
    one, other = (np.array([side.get(prompt, 0.0) for prompt in prompts]) for side in (ours, theirs))
    if float(np.abs(one - other).max()) <= _SAME:  # all prompts moved alike by luck, which says nothing about others
        return fixed(first, second, alpha)
    return paired(one, other, first.p - second.p, min(first.df, second.df), alpha)


def _moves(side: Side, summary: Summary) -> dict[Hashable, float]:
    moves = (side.sums.total - side.sums.n * summary.p) / summary.n
    return dict(zip(side.prompts, moves.tolist(), strict=True))


def _least_correlation(ours: dict[Hashable, float], theirs: dict[Hashable, float]) -> float:
    """Of the two rates over prompts, less one standard error and at most 0; 0 without a prompt in common."""
    shared = ours.keys() & theirs.keys()
    if not shared:
        return 0.0
    size = math.sqrt(sum(move**2 for move in ours.values()) * sum(move**2 for move in theirs.values()))
    together = sum(ours[prompt] * theirs[prompt] for prompt in shared)
    return min(0.0, max(-1.0, (together / size if size > _SAME**2 else 0.0) - 1 / math.sqrt(len(shared))))


def _square_and_add(one: Summary, other: Summary, of_one: Interval, of_other: Interval, c: float = 0.0) -> Interval:
    gap = one.p - other.p
    down, up = (one.p - of_one.low, of_other.high - other.p), (of_one.high - one.p, other.p - of_other.low)
    low, high = (math.sqrt(max(0.0, a * a + b * b - 2 * c * a * b)) for a, b in (down, up))
    return Interval(max(-1.0, gap - low), min(1.0, gap + high))


def _compared(gap: float) -> str:
    return "the same as" if abs(gap) <= _SAME else f"{_points(gap)} {_direction(gap)} than"


def _range(interval: Interval) -> str:
    low, high = interval
    if low > 0 or high < 0:
        near, far = sorted((low, high), key=abs)
        return f"from {_points(near)} to {_points(far)} {_direction(low)}"
    ends = [f"{_points(end)} {_direction(end)}" if abs(end) > _SAME else "none at all" for end in interval]
    return f"from {ends[0]} to {ends[1]}"


def _points(gap: float) -> str:
    """A difference of rates in whole points; only none at all is shown as 0."""
    whole = math.floor(100 * abs(gap) + 0.5)
    if whole == 0:
        return "under 1 point"
    return "1 point" if whole == 1 else f"{whole} points"


def _direction(gap: float) -> str:
    return "higher" if gap > 0 else "lower"
