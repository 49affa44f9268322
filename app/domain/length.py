"""Whether a judge prefers the longer text, and what its win rate would be between texts of equal length.

For pairs with y from the challenger's side and D = length of its text - length of the other:

    logit P(y) = theta + phi * tanh(D / sd)          sd = standard deviation of D over the whole pair set

phi is the pull of length, expit(theta) the length-controlled win rate. Errors are clustered by prompt, quantiles are
Student's t over prompts - 1. Dubois et al. 2024, arXiv 2404.04475 (there with the same tanh and a fixed sd). A pair
judged in both orders counts once, with its mean; a value between 0 and 1 enters the likelihood as it is (Papke and
Wooldridge 1996).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtrit

from app.domain.intervals import Interval, clopper_pearson
from app.domain.position import outcome_of
from app.domain.tally import TIE
from app.domain.terms import Outcome

MOST_OF_ONE_SIGN = 0.9
MIN_PROMPTS = 10
MIN_DECISIVE = 40

_STEPS = 50
_CONVERGED = 1e-10
_STEEPEST = 30.0
"""A slope on the scale of tanh that no finite preference has: one more step would only take it further."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """One judged pair: its prompt, how much longer the challenger's text is, and y."""

    prompt: str
    longer_by: int
    y: float


@dataclass(frozen=True, slots=True)
class Pull:
    """The fitted model: ``controlled`` is the win rate at equal length, ``phi`` the pull of length in log odds."""

    controlled: float
    controlled_interval: Interval
    phi: float
    phi_interval: Interval
    theta: float
    theta_error: float
    phi_error: float


@dataclass(frozen=True, slots=True)
class LengthCard:
    """``longer`` of ``decisive`` preferences, on texts of different length, went to the longer text.

    ``pull`` is ``None`` where the model is refused; then ``refused`` says why in a sentence.
    """

    longer: int
    decisive: int
    pull: Pull | None
    refused: str

    @property
    def share(self) -> float | None:
        """The share of preferences for the longer text."""
        return self.longer / self.decisive if self.decisive else None

    @property
    def interval(self) -> Interval | None:
        """The exact interval of that share."""
        return clopper_pearson(self.longer, self.decisive) if self.decisive else None


def length_card(judged: Sequence[Measured], differences: Sequence[int]) -> LengthCard:
    """What length has to do with these verdicts. ``differences``: of every pair that can be judged, judged or not."""
    preferred = [
        (one.longer_by > 0) is (outcome_of(one.y) is Outcome.SECOND)
        for one in judged
        if one.longer_by and outcome_of(one.y) is not Outcome.TIE
    ]
    refused, pull = _too_little(judged), None
    if not refused:
        pull = fit(judged, spread(differences))
        if pull is None:
            refused = "Length and verdicts go together so closely that no rate at equal length can be told from them."
    return LengthCard(sum(preferred), len(preferred), pull, refused)


def spread(differences: Sequence[int]) -> float:
    """The standard deviation of the differences in length over a pair set."""
    return float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0


def _too_little(judged: Sequence[Measured]) -> str:
    """Why nothing can be said; empty if it can."""
    prompts = len({one.prompt for one in judged})
    if prompts < MIN_PROMPTS:
        return f"Too early for a rate at equal length: it needs at least {MIN_PROMPTS} prompts and has {prompts}."
    decisive = sum(one.y != TIE for one in judged)
    if decisive < MIN_DECISIVE:
        return (
            f"Too early for a rate at equal length: it needs at least {MIN_DECISIVE} pairs with a preference and has "
            f"{decisive}."
        )
    one_sign = max(sum(one.longer_by > 0 for one in judged), sum(one.longer_by < 0 for one in judged))
    if one_sign > MOST_OF_ONE_SIGN * len(judged):
        return (
            f"In {one_sign:,} of {len(judged):,} pairs the longer text is by the same checkpoint, so length cannot be "
            "told from who wrote it."
        )
    return ""


def fit(judged: Sequence[Measured], sd: float) -> Pull | None:
    """The model by Newton's method; ``None`` where it has no finite solution, as when length decides everything."""
    if sd <= 0:
        return None
    y = np.array([one.y for one in judged])
    x = np.column_stack([np.ones(len(judged)), np.tanh(np.array([one.longer_by for one in judged]) / sd)])
    beta = _newton(x, y)
    if beta is None:
        return None
    prompts = np.unique([one.prompt for one in judged], return_inverse=True)[1]
    covariance = _clustered(x, y, beta, prompts)
    theta_error, phi_error = (float(error) for error in np.sqrt(np.diag(covariance)))
    df = int(prompts.max())
    wide = -float(stdtrit(df, 0.025))
    theta, phi = float(beta[0]), float(beta[1])
    around_theta = Interval(theta - wide * theta_error, theta + wide * theta_error)
    return Pull(
        controlled=float(expit(theta)),
        controlled_interval=Interval(float(expit(around_theta.low)), float(expit(around_theta.high))),
        phi=phi,
        phi_interval=Interval(phi - wide * phi_error, phi + wide * phi_error),
        theta=theta,
        theta_error=theta_error,
        phi_error=phi_error,
    )


def _newton(x: Floats, y: Floats) -> Floats | None:
    beta = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = expit(x @ beta)
        hessian = (x * (p * (1 - p))[:, None]).T @ x
        if not np.isfinite(hessian).all() or np.linalg.cond(hessian) > 1 / _CONVERGED:
            return None
        step = np.linalg.solve(hessian, x.T @ (y - p))
        beta = beta + step
        if np.abs(beta).max() > _STEEPEST:
            return None
        if np.abs(step).max() < _CONVERGED:
            return beta
    return None


def _clustered(x: Floats, y: Floats, beta: Floats, prompts: NDArray[np.intp]) -> Floats:
    """The sandwich over prompts, with the small-sample factor of statsmodels: G/(G-1) * (n-1)/(n-k)."""
    p = expit(x @ beta)
    bread = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
    scores = x * (y - p)[:, None]
    groups = int(prompts.max()) + 1
    sums = np.zeros((groups, x.shape[1]))
    np.add.at(sums, prompts, scores)
    n, k = x.shape
    factor = groups / (groups - 1) * (n - 1) / (n - k) if groups > 1 else math.nan
    found: Floats = factor * bread @ sums.T @ sums @ bread
    return found
