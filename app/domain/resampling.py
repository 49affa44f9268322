"""How sure a figure is that is no mean: its spread when the prompts are drawn again.

Kappa, alpha and their like are quotients of sums over prompts. Drawing G prompts again with replacement gives every
prompt a weight (how often it was drawn), so each redrawn figure comes from weighted sums and no verdict is touched
twice: 2,000 redraws of 500 prompts take a few milliseconds, however many votes stand behind them. The interval is the
figure ± Student's t over prompts times the standard deviation of the redrawn figures; simulated from 20 prompts on it
covers in 93% or more, where the percentiles of the redraws alone cover less (Efron and Tibshirani 1993, chapters 6, 13).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from app.domain.intervals import Interval

MIN_PROMPTS = 20
RESAMPLES = 2_000

_AT_ONCE = 4_000_000
"""Weights held in memory at a time."""
_MOST_UNDEFINED = 0.05
"""Share of redraws in which the figure may be undefined, as kappa is when only one outcome was drawn."""

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From sums of shape (..., cells) to figures of shape (...), NaN where they give none."""


def sum_by(prompts: ArrayLike, values: Floats) -> Floats:
    """Add up the rows of ``values``, shape (n, cells), that share a prompt: shape (prompts, cells).

    ``prompts``: length n, what the prompt of each row is called. Raises ``ValueError`` if the lengths differ.
    """
    names = np.asarray(prompts)
    if names.shape != values.shape[:1]:
        raise ValueError(f"{names.size} prompts do not belong to {len(values)} rows")
    groups, places = np.unique(names, return_inverse=True)
    columns = [np.bincount(places, weights=column, minlength=groups.size) for column in values.T]
    return np.column_stack(columns) if columns else np.zeros((groups.size, 0))


def redrawn(
    sums: Floats,
    statistic: Statistic,
    rng: np.random.Generator,
    *,
    alpha: float = 0.05,
    bounds: Interval = Interval(-1.0, 1.0),
    resamples: int = RESAMPLES,
) -> Interval | None:
    """The interval of ``statistic(sums.sum(axis=0))`` for prompts like these; right when it is read once.

    Args:
        sums: shape (prompts, cells), what each prompt contributes.
        statistic: computes the figure from cells, for many rows at once.
        rng: draws the prompts.
        alpha: how often the interval may miss.
        bounds: no figure of this kind lies outside.
        resamples: how often the prompts are drawn again.

    Returns:
        ``None`` below 20 prompts, and where the figure itself or more than one redraw in twenty is undefined.
    """
    prompts = len(sums)
    if prompts < MIN_PROMPTS:
        return None
    found = float(statistic(sums.sum(axis=0)))
    share = np.full(prompts, 1 / prompts)
    rows = max(1, _AT_ONCE // prompts)
    drawn = np.concatenate(
        [
            statistic(rng.multinomial(prompts, share, size=min(rows, resamples - start)).astype(np.float64) @ sums)
            for start in range(0, resamples, rows)
        ]
    )
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(found) or defined.size < (1 - _MOST_UNDEFINED) * resamples:
        return None
    half = -float(stdtrit(prompts - 1, alpha / 2)) * float(defined.std(ddof=1))
    return Interval(max(bounds.low, found - half), min(bounds.high, found + half))
