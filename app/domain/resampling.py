"""How sure a figure is that is no mean: its spread when each prompt in turn is left out.

Kappa, alpha and their like are quotients of sums over prompts. Leaving out one prompt takes its part from the sums, so
no verdict is touched twice, however many votes stand behind them, and nothing is drawn: the same votes always give the
same interval. It is the jackknife (Efron and Tibshirani 1993, chapter 11), symmetric on Fisher's scale, where figures
near 1 spread as evenly as others:

    z = atanh(k x),  k = G / (G + 1)                z_g: the same without prompt g
    V = (G - 1)/G · Σ_g (z_g - z̄)²                  interval = tanh(z ± t(G - 1) √V) / k

k keeps a figure of 1 on the scale. In simulated studies of 20 and 57 prompts it covers in 93% to 98%, also where voters
hardly ever disagree; there, prompts that are drawn again with replacement give intervals that cover in 88% to 93%.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from app.domain.intervals import Interval

MIN_PROMPTS = 20

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


def jackknife(sums: Floats, statistic: Statistic, *, alpha: float = 0.05) -> Interval | None:
    """The interval of ``statistic(sums.sum(axis=0))`` for prompts like these; right when it is read once.

    Args:
        sums: shape (prompts, cells), what each prompt contributes.
        statistic: computes the figure, between -1 and 1, from cells; for many rows at once.
        alpha: how often the interval may miss.

    Returns:
        ``None`` below 20 prompts, where the figure is undefined or would be without one of them, and where no prompt
        makes a difference: voters who never disagreed on these prompts do not show how often they would.
    """
    prompts = len(sums)
    if prompts < MIN_PROMPTS:
        return None
    whole = sums.sum(axis=0)
    found, without = float(statistic(whole)), statistic(whole - sums)
    if not (np.isfinite(found) and np.isfinite(without).all()) or np.ptp(without) < _SAME:
        return None
    kept = prompts / (prompts + 1)
    centre, moved = np.arctanh(kept * found), np.arctanh(kept * without)
    error = np.sqrt((prompts - 1) / prompts * ((moved - moved.mean()) ** 2).sum())
    half = -stdtrit(prompts - 1, alpha / 2) * error
    low, high = np.tanh([centre - half, centre + half]) / kept
    return Interval(max(-1.0, float(low)), min(1.0, float(high)))
