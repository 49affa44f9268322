"""How sure a figure is that is no mean: its spread when the prompts are drawn again.

Kappa, alpha and their like are quotients of sums over prompts. Drawing G prompts again with replacement gives every
prompt a weight (how often it was drawn), so each redrawn figure comes from weighted sums and no verdict is touched
twice: 2,000 redraws of 500 prompts take a fraction of a second, however many votes stand behind them.

The interval is symmetric on Fisher's scale, where figures near 1 spread as evenly as others:

    z = atanh(k x),  k = G / (G + 1)            interval = tanh(z ± t(G - 1) · sd(redrawn z)) / k

k keeps a figure of 1 on the scale. In simulated studies of 20 and 57 prompts it covers in 93% to 97%, and in 90% where
20 prompts hardly ever disagree; the percentiles of the redraws cover less nearly everywhere (Efron and Tibshirani 1993,
chapters 6, 12 and 13).
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

_SAME = 1e-9

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
    resamples: int = RESAMPLES,
) -> Interval | None:
    """The interval of ``statistic(sums.sum(axis=0))`` for prompts like these; right when it is read once.

    Args:
        sums: shape (prompts, cells), what each prompt contributes.
        statistic: computes the figure, between -1 and 1, from cells; for many rows at once.
        rng: draws the prompts.
        alpha: how often the interval may miss.
        resamples: how often the prompts are drawn again.

    Returns:
        ``None`` below 20 prompts, where the figure itself or more than one redraw in twenty is undefined, and where all
        redraws give the same: voters who never disagreed on these prompts do not show how often they would.
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
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(found) or drawn.size < (1 - _MOST_UNDEFINED) * resamples or np.ptp(drawn) < _SAME:
        return None
    kept = prompts / (prompts + 1)
    centre = np.arctanh(kept * found)
    half = -stdtrit(prompts - 1, alpha / 2) * np.arctanh(kept * drawn).std(ddof=1)
    low, high = np.tanh([centre - half, centre + half]) / kept
    return Interval(max(-1.0, float(low)), min(1.0, float(high)))
