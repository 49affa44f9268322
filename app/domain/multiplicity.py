"""Many cells at once: a page of twenty win rates shows one that is "better" by chance alone, unless this is heeded.

A live page has K cells (challenger x category), each with its own interval at alpha / K: then all of them hold
together, at every look, with probability 1 - alpha (Bonferroni). K counts the cells that the plan has, those for which
it is too early included; it must not grow with what was found. A frozen report sorts its p-values and asks less of each
next one (Holm 1979), which finds whatever Bonferroni finds and more. The p-values are those of the fixed intervals:
p < alpha exactly where the interval at alpha excludes one half.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from app.domain import intervals
from app.domain.intervals import Interval, too_early
from app.domain.tally import Summary

EVEN = 0.5


def bonferroni(alpha: float, cells: int) -> float:
    """How often each of so many intervals may miss when all of them together may in ``alpha``."""
    if cells < 1:
        raise ValueError(f"there is no interval among {cells}")
    return alpha / cells


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p-values, shape (K,), in the order given: those below alpha may all be called, together.

    The largest so far of (K - rank) p over p-values in rising order, at most 1. Raises ``ValueError`` for one outside
    [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError("a p-value lies between 0 and 1")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1.0)
    return adjusted


def p_value(summary: Summary, rate: float = EVEN) -> float:
    """Of a true ``rate`` in (0, 1): below alpha exactly where ``intervals.fixed(summary, alpha)`` lacks it.

    Twice the tail of Student's t beyond |p - rate| / sqrt(rate (1 - rate) / n_eff). 1 with a single prompt.
    """
    if summary.df == 0:
        return 1.0
    t = abs(summary.p - rate) / math.sqrt(rate * (1 - rate) / summary.n_eff)
    return float(2 * stdtr(summary.df, -t))


def simultaneous_live(summaries: Sequence[Summary | None], alpha: float = 0.05) -> list[Interval | None]:
    """Live intervals that hold together at every look, one a cell in the order given; ``None`` while it is too early.

    ``summaries``: one for each cell of the plan, ``None`` where there is no verdict yet.
    """
    each = bonferroni(alpha, max(1, len(summaries)))
    return [None if one is None or too_early(one) else intervals.live(one, each) for one in summaries]


def simultaneous_fixed(summaries: Sequence[Summary | None], alpha: float = 0.05) -> list[Interval | None]:
    """The same for a frozen report, read once.

    Holm's p-values, which ask less, may call a cell whose interval here still includes one half.
    """
    each = bonferroni(alpha, max(1, len(summaries)))
    return [None if one is None or too_early(one) else intervals.fixed(one, each) for one in summaries]


def adjusted(summaries: Sequence[Summary | None]) -> list[float | None]:
    """Holm's adjusted p-value of each cell of a frozen report against one half; ``None`` where it is too early.

    Only cells that can be tested count: whether one can be was not decided by who won.
    """
    tested = {place: p_value(one) for place, one in enumerate(summaries) if one is not None and not too_early(one)}
    found = dict(zip(tested, holm(list(tested.values())).tolist(), strict=True))
    return [found.get(place) for place in range(len(summaries))]
