"""How sure a win rate is: the fixed interval of a finished report and the live one of a dashboard.

``fixed`` is Wilson's interval with the effective number of verdicts and Student's t over prompts. It is right
when it is read once, after the last vote. ``live`` stays right however often somebody looks: it holds every
rate m that a mixture of bets against m has not yet refuted (Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon,
arXiv 1810.08240; Lindon and Malek, arXiv 2011.03567). Half of the stake is spread evenly over all rates, half
around one half, where most comparisons of checkpoints lie.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv, betaln, expit, ndtri, stdtrit, xlog1py, xlogy

from app.domain.tally import Summary

MIN_PROMPTS = 5
MIN_DECISIVE = 5
MIN_EFFECTIVE = 10

# The parameters (a, a) of the two beta distributions that the bets are spread by.
_EVEN = 1.0
_NEAR_HALF = 10.0

# An n_eff that is 10 by its formula may come out as 9.999999999999998.
_ROUNDING = 1e-9

# Beyond, a float holds the rate as 0 or 1.
_LARGEST_LOG_ODDS = 750.0

# Newton's method doubles the digits at each step; far fewer than so many are ever taken.
_MOST_STEPS = 200
_STEP = 1e-14


class Interval(NamedTuple):
    """Lower and upper end of a range of win rates, both in [0, 1]."""

    low: float
    high: float


ANYTHING = Interval(0.0, 1.0)


def too_early(summary: Summary) -> bool:
    """Whether the verdicts are too few for any interval: counts are shown instead."""
    return summary.prompts < MIN_PROMPTS or summary.decisive < MIN_DECISIVE or summary.n_eff < MIN_EFFECTIVE - _ROUNDING


def fixed(summary: Summary, alpha: float = 0.05) -> Interval:
    """The interval of a finished comparison, read once; it misses the true rate with probability alpha."""
    return wilson(summary.p, summary.n_eff, summary.df, alpha)


def live(summary: Summary, alpha: float = 0.05) -> Interval:
    """The interval that may be read after every vote; it *ever* misses with probability below alpha."""
    return live_from_counts(summary.p * summary.n_eff, summary.n_eff, summary.df, alpha)


def wilson(p: float, n_eff: float, df: int | None = None, alpha: float = 0.05) -> Interval:
    """Wilson's score interval for a rate.

    ``df`` degrees of freedom give Student's t instead of the normal quantile. Without observations, or with
    0 degrees of freedom (one prompt), nothing can be excluded: [0, 1].
    """
    _check(p, 1.0, alpha)
    if n_eff <= 0 or df == 0:
        return ANYTHING
    weight = _quantile(df, alpha) ** 2 / n_eff
    centre = (p + weight / 2) / (1 + weight)
    half = math.sqrt(weight * (p * (1 - p) + weight / 4)) / (1 + weight)
    return Interval(
        low=0.0 if p == 0 else max(0.0, centre - half),
        high=1.0 if p == 1 else min(1.0, centre + half),
    )


def clopper_pearson(successes: int, n: int, alpha: float = 0.05) -> Interval:
    """The exact interval for independent verdicts on this very set of prompts."""
    _check(successes, n, alpha)
    return Interval(
        low=float(betaincinv(successes, n - successes + 1, alpha / 2)) if successes > 0 else 0.0,
        high=float(betaincinv(successes + 1, n - successes, 1 - alpha / 2)) if successes < n else 1.0,
    )


def log_e_value(m: float, s: float, n: float) -> float:
    """Log of what the mixture of bets against the rate ``m`` has made of a stake of 1.

    ``s`` is the sum of y and ``n`` the number of observations, neither need be whole. If m is the true rate,
    the e-value ever reaches 1/alpha with probability at most alpha.
    """
    return _log_mixture(s, n) - float(xlogy(s, m) + xlog1py(n - s, -m))


def live_from_counts(s: float, n: float, df: int | None = None, alpha: float = 0.05) -> Interval:
    """Every rate whose e-value is below 1/alpha, for ``s`` of ``n`` observations.

    ``df`` shrinks both by (z/t) squared: the variance was itself estimated, from df + 1 prompts. Without
    observations, or with 0 degrees of freedom, nothing can be excluded: [0, 1].
    """
    _check(s, n, alpha)
    if n == 0 or df == 0:
        return ANYTHING
    p = s / n
    n *= (_quantile(None, alpha) / _quantile(df, alpha)) ** 2
    s = p * n
    # A rate is refuted when its log likelihood falls below this: in closed form when every y is the same.
    threshold = _log_mixture(s, n) + math.log(alpha)
    if s == 0:
        return Interval(0.0, -math.expm1(threshold / n))
    if s == n:
        return Interval(math.exp(threshold / n), 1.0)

    # At p itself no bet can have won, so the excess is negative there; it grows on both sides, and is convex.
    return Interval(
        low=min(p, float(expit(_low_log_odds(threshold, s, n)))),
        high=max(p, float(expit(-_low_log_odds(threshold, n - s, n)))),
    )


def _low_log_odds(threshold: float, s: float, n: float) -> float:
    """The lower root of threshold + s log(1 + exp(-x)) + (n - s) log(1 + exp(x)), which is negative at logit(s/n).

    Log odds keep rates of 1e-9 and of 1 - 1e-9 apart from 0 and 1. Newton's method: log(1 + exp(-x)) is at least -x, so
    the function is not negative where it begins, and as it is convex each step stays on that side. A dashboard asks for
    thousands of roots, so not by a library's bracketing, which takes three times as many steps.
    """
    x = max(threshold / s, -_LARGEST_LOG_ODDS)
    for _ in range(_MOST_STEPS):
        tail = math.exp(-abs(x))
        beyond = n * math.log1p(tail)
        if x < 0:
            excess, slope = threshold - s * x + beyond, n * tail / (1 + tail) - s
        else:
            excess, slope = threshold + (n - s) * x + beyond, (n - s) - n * tail / (1 + tail)
        if excess <= 0 or slope >= 0:
            break
        step = -excess / slope
        x += step
        if step < _STEP * (1 + abs(x)):
            break
    return x


def _log_mixture(s: float, n: float) -> float:
    even = betaln(_EVEN + s, _EVEN + n - s) - betaln(_EVEN, _EVEN)
    near_half = betaln(_NEAR_HALF + s, _NEAR_HALF + n - s) - betaln(_NEAR_HALF, _NEAR_HALF)
    return float(np.logaddexp(even, near_half)) - math.log(2)


def _quantile(df: int | None, alpha: float) -> float:
    """The two-sided quantile of Student's t, or of the normal distribution."""
    return -float(ndtri(alpha / 2) if df is None else stdtrit(df, alpha / 2))


def _check(part: float, whole: float, alpha: float) -> None:
    if not 0 <= part <= whole:
        raise ValueError(f"{part} of {whole} is not a rate")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha lies between 0 and 1, got {alpha}")
