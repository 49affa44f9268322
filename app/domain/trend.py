"""How a win rate and its live interval moved while votes came in.

Every point is what the page would have said after so many votes: the interval is time-uniform, so that the whole band
holds the true rate at once with probability 1 - alpha (see ``intervals``). Howard, Ramdas, McAuliffe, Sekhon 2021,
arXiv 1810.08240.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.intervals import Interval, live, too_early
from app.domain.tally import TIE, ClusterSums, summarise

MOST_POINTS = 60
"""More would lie on top of each other in a drawing, and each costs a summary over all prompts."""


@dataclass(frozen=True, slots=True)
class Point:
    """After ``votes`` votes. ``live`` is ``None`` while it is too early to say."""

    votes: int
    win_rate: float
    live: Interval | None


def trend(prompts: NDArray[np.intp], y: NDArray[np.float64], most: int = MOST_POINTS) -> tuple[Point, ...]:
    """The points of one matchup.

    Args:
        prompts: shape (N,), which prompt each vote is about, numbered from 0, in the order in which votes were cast.
        y: shape (N,), 1 for the challenger, 0 for the baseline, one half for a tie.
        most: at most so many points, evenly spread over the votes; the last is always there.

    Returns:
        Nothing without votes.

    Raises:
        ValueError: the shapes differ.
    """
    if prompts.shape != y.shape or prompts.ndim != 1:
        raise ValueError(f"votes of shape {y.shape} are not about prompts of shape {prompts.shape}")
    if not y.size:
        return ()
    clusters = int(prompts.max()) + 1
    sums = np.zeros((4, clusters))
    values = np.stack((np.ones_like(y), y, y * y, (y != TIE).astype(np.float64)))
    points, start = [], 0
    for end in _ends(y.size, most):
        sums += [np.bincount(prompts[start:end], weights=part, minlength=clusters) for part in values[:, start:end]]
        start = end
        voted = sums[:, sums[0] > 0]
        summary = summarise(ClusterSums(*voted))
        if summary is not None:
            points.append(Point(end, summary.p, None if too_early(summary) else live(summary)))
    return tuple(points)


def _ends(votes: int, most: int) -> list[int]:
    """After which votes a point is made."""
    return sorted({round(end) for end in np.linspace(votes / most, votes, most) if round(end) > 0})
