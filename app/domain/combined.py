"""People and judges together: prediction-powered inference for what people prefer.

Judges see every pair, people a random part of them. The estimate takes the judges' mean over all pairs and corrects it
by how far judges are off where people voted too; its interval is about people and does not inherit the judges' bias.
Angelopoulos, Bates, Fannjiang, Jordan, Zrnic 2023, arXiv 2301.09633; with a weight: Angelopoulos, Duchi, Zrnic 2023,
arXiv 2311.01453. Here the labelled pairs are among the N judged ones, and the variance is clustered by prompt, over all
prompts that were judged; simulated with a biased judge it covers in 94% to 96% from 10 labelled prompts on.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.tally import LARGEST_WEIGHT_OF_ONE_VERDICT, TIE, Summary

_ROUNDING = 1e-12
_FEWEST = 2
"""Pairs with both that a variance can be made from."""


@dataclass(frozen=True, slots=True)
class Combined:
    """The combined estimate.

    ``summary`` gives both intervals, as for any win rate; its ``n`` and ``prompts`` count what people voted on.
    """

    summary: Summary
    weight: float
    """0 takes people alone, 1 trusts the judges fully."""
    judged: int
    """N: pairs that judges have seen."""
    correlation: float | None
    """Of judges and people on pairs that both have seen; ``None`` where one of them says always the same."""

    @property
    def multiplier(self) -> float:
        """As how many human votes each one counts with the judges beside it, see ``multiplier``.

        1 where judges go against people: they are left aside then.
        """
        return multiplier(max(self.correlation or 0.0, 0.0))


def multiplier(correlation: float) -> float:
    """How many human votes one is worth beside judges that correlate so much: 1 / (1 - correlation²), at most 100."""
    return 1 / max(1 - correlation**2, 1 / 100)


def combine(
    prompts: Sequence[Hashable], people: Sequence[float | None], judges: Sequence[float], weight: float | None = None
) -> Combined | None:
    """The win rate among people from the pairs that judges have seen.

    Args:
        prompts: length N, the prompt of each judged pair.
        people: length N, the mean of the human verdicts on it in [0, 1], ``None`` where nobody voted.
        judges: length N, the mean of the judges' verdicts on it in [0, 1].
        weight: in [0, 1]; ``None``: the one with the smallest variance, 0 where judges say always the same.

    Returns:
        ``None`` below two pairs that people voted on.

    Raises:
        ValueError: the lengths differ, or a value is not within [0, 1].
    """
    f = np.asarray(judges, dtype=np.float64)
    y = np.array([np.nan if value is None else value for value in people], dtype=np.float64)
    if not f.size == y.size == len(prompts):
        raise ValueError(f"{len(prompts)} prompts, {y.size} votes and {f.size} judgments do not belong together")
    if not (np.all((f >= 0) & (f <= 1)) and np.all(np.isnan(y) | ((y >= 0) & (y <= 1)))):
        raise ValueError("a verdict lies between 0 and 1")
    labelled = ~np.isnan(y)
    n, judged = int(labelled.sum()), f.size
    if n < _FEWEST:
        return None
    lam = _weight(y[labelled], f[labelled], f) if weight is None else weight
    rectified = y[labelled] - lam * f[labelled]
    p = float(np.clip(lam * f.mean() + rectified.mean(), 0, 1))
    numbers = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    cluster = np.array([numbers[prompt] for prompt in prompts])
    influence = _influence(lam, f, labelled, rectified, cluster)
    return Combined(
        summary=Summary(
            p=p,
            n_eff=_effective_size(p, y[labelled], rectified, influence, judged),
            df=len(numbers) - 1,
            n=n,
            prompts=int(np.unique(cluster[labelled]).size),
            decisive=int(np.count_nonzero(y[labelled] != TIE)),
        ),
        weight=lam,
        judged=judged,
        correlation=_correlation(y[labelled], f[labelled]),
    )


def _weight(y: NDArray[np.float64], f: NDArray[np.float64], everywhere: NDArray[np.float64]) -> float:
    """The weight cov(Y, f) over the n labelled pairs / var(f) over all N, within [0, 1]."""
    spread = float(everywhere.var(ddof=1))
    if spread <= _ROUNDING:
        return 0.0
    return float(np.clip(np.cov(y, f, ddof=1)[0, 1] / spread, 0, 1))


def _influence(
    lam: float,
    f: NDArray[np.float64],
    labelled: NDArray[np.bool_],
    rectified: NDArray[np.float64],
    cluster: NDArray[np.int_],
) -> NDArray[np.float64]:
    """What each prompt moves the estimate by."""
    moves = lam * (f - f.mean()) / f.size
    moves[labelled] += (rectified - rectified.mean()) / rectified.size
    sums = np.zeros(cluster.max() + 1)
    np.add.at(sums, cluster, moves)
    return sums


def _effective_size(
    p: float,
    y: NDArray[np.float64],
    rectified: NDArray[np.float64],
    influence: NDArray[np.float64],
    judged: int,
) -> float:
    """As many independent human verdicts would be as informative; at most five times as many as there are."""
    n, groups = y.size, influence.size
    mean = float(y.mean())
    apart = (1 / n - 1 / judged) * float(rectified.var(ddof=1)) + mean * (1 - mean) / judged
    between = groups / (groups - 1) * float(influence @ influence) if groups > 1 else 0.0
    variance = max(between, apart)
    if p * (1 - p) <= _ROUNDING or variance <= _ROUNDING:
        return float(n)
    return min(p * (1 - p) / variance, LARGEST_WEIGHT_OF_ONE_VERDICT * n)


def _correlation(y: NDArray[np.float64], f: NDArray[np.float64]) -> float | None:
    if min(y.var(), f.var()) <= _ROUNDING:
        return None
    return float(np.corrcoef(y, f)[0, 1])
