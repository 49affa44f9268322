"""Whether two voters disagree in one direction: a question about their shares of outcomes, which kappa does not answer.

Two judges can agree in 74% of pairs and yet give the challenger 56% and 40%. McNemar's test looks at the pairs on which
they differ: without a direction, each way is equally likely (exact binomial; McNemar 1947). Stuart (1955) and Maxwell
(1970) extend it to more outcomes. Both treat pairs as independent, so they are about this very set of prompts. For
prompts like these there is the paired gap, the mean of y_one - y_other over the same pairs, clustered by prompt:

    V = max( G/(G-1) · Σ_g (Σ_{i in g} (d_i - d̄))² / n² ,  s_d²/n )          interval  d̄ ± t(G-1) sqrt(V)

With a judge as the one and people as the other it is the judge's bias, whatever its cause: a judge can agree with
people in 88% and still favour texts of its own family by 13 points.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, stdtrit
from scipy.stats import binomtest

from app.domain.intervals import MIN_DECISIVE, MIN_PROMPTS, Interval
from app.domain.resampling import sum_by

_SAME = 1e-12

Floats = NDArray[np.float64]


class MarginalTest(NamedTuple):
    """Chi-squared with ``df`` degrees of freedom; ``p``: how often two voters with the same shares differ so far."""

    statistic: float
    df: int
    p: float


@dataclass(frozen=True, slots=True)
class Gap:
    """Two voters on the same pairs: their win rates for the challenger and how far these are apart.

    ``differ`` counts pairs with different values. ``interval``, in [-1, 1] and right when it is read once, is ``None``
    below 5 prompts or 5 pairs that differ.
    """

    n: int
    prompts: int
    differ: int
    one: float
    other: float
    gap: float
    error: float
    interval: Interval | None


def mcnemar(one_alone: int, other_alone: int) -> float | None:
    """Exact p-value from pairs that only the one, and only the other, gave to the challenger; ``None`` without any."""
    differing = one_alone + other_alone
    return float(binomtest(one_alone, differing).pvalue) if differing else None


def stuart_maxwell(table: ArrayLike) -> MarginalTest | None:
    """Whether rows and columns of a square table of counts have the same shares; ``None`` where nobody disagrees.

    dᵀ S⁺ d with d_i = n_i. - n_.i, S_ii = n_i. + n_.i - 2 n_ii and S_ik = -(n_ik + n_ki). Outcomes that nobody
    disagrees about cost no degree of freedom. For two outcomes it is McNemar's test without its exactness.
    """
    counts = np.asarray(table, dtype=np.float64)
    apart = counts.sum(axis=1) - counts.sum(axis=0)
    moved = counts + counts.T
    spread = np.diag(moved.sum(axis=1)) - moved
    df = int(np.linalg.matrix_rank(spread, hermitian=True))
    if df == 0:
        return None
    statistic = float(apart @ np.linalg.pinv(spread, hermitian=True) @ apart)
    return MarginalTest(statistic, df, float(chdtrc(df, statistic)))


def paired_gap(prompts: ArrayLike, one: ArrayLike, other: ArrayLike, alpha: float = 0.05) -> Gap | None:
    """How much more often the one prefers the challenger than the other does; ``None`` without a pair.

    Args:
        prompts: length n, the prompt of each pair that both voted on.
        one: length n, y of the one in [0, 1] from the challenger's side: a verdict, or the mean of several.
        other: the same of the other.
        alpha: how often the interval may miss.

    Raises:
        ValueError: the lengths differ, or a value lies outside [0, 1].
    """
    y, z = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if y.shape != z.shape:
        raise ValueError(f"{y.size} verdicts of the one and {z.size} of the other are not on the same pairs")
    if not (np.all((y >= 0) & (y <= 1)) and np.all((z >= 0) & (z <= 1))):
        raise ValueError("a verdict lies between 0 and 1")
    if y.size == 0:
        return None
    apart = y - z
    n, gap = apart.size, float(apart.mean())
    moves = sum_by(prompts, (apart - gap)[:, None])[:, 0]
    groups, differ = moves.size, int((np.abs(apart) > _SAME).sum())
    independent = float(apart.var(ddof=1)) / n if n > 1 else 0.0
    between = groups / (groups - 1) * float(moves @ moves) / n**2 if groups > 1 else 0.0
    error = math.sqrt(max(independent, between))
    found = None
    if groups >= MIN_PROMPTS and differ >= MIN_DECISIVE:
        half = -float(stdtrit(groups - 1, alpha / 2)) * error
        found = Interval(max(-1.0, gap - half), min(1.0, gap + half))
    return Gap(
        n=n,
        prompts=groups,
        differ=differ,
        one=float(y.mean()),
        other=float(z.mean()),
        gap=gap,
        error=error,
        interval=found,
    )
