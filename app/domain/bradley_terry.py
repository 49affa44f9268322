"""How strong checkpoints are that meet each other: Bradley-Terry strengths from counts, with honest errors.

    P(i is preferred to j) = expit(θ_i - θ_j)            a tie counts as half a win for each (Bradley and Terry 1952)

The fit needs nothing but the K x K table of wins, so Newton's method takes a millisecond however many verdicts stand
behind it. Every pair of checkpoints that met gets ``pseudo_wins`` both ways, one half unless said otherwise: the
strength of one that never lost would otherwise be infinite. Strengths have no zero of their own; here they sum to 0
over a component, the checkpoints that are linked by comparisons. Between two components nothing can be said, and
nothing is.

Errors are a sandwich over prompts, H⁻¹ (G/(G-1) Σ_g u_g u_gᵀ) H⁻¹ with u_g what prompt g adds to the gradient, and
never smaller than those of independent verdicts, H⁻¹ (as in ``app.domain.tally``); quantiles are Student's t over
prompts. They are right when they are read once.

Against one baseline alone the strength *is* logit(win rate): rank by win rate there, and do not fit this.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, log_expit, stdtrit

from app.domain.intervals import MIN_PROMPTS, Interval

PSEUDO_WINS = 0.5

_STEPS = 200
_CONVERGED = 1e-10
_ROUNDING = 1e-12

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Difference:
    """One checkpoint against another of the same component.

    ``gap`` and its ``error`` are log odds; ``win_rate`` is the rate at which the fit says the one is preferred. The
    intervals are ``None`` below 5 prompts.
    """

    gap: float
    error: float
    interval: Interval | None
    win_rate: float
    win_interval: Interval | None


@dataclass(frozen=True, eq=False, slots=True)
class Strengths:
    """Strengths of K checkpoints; arrays of shape (K,) in the order of their numbers.

    ``strength`` and ``error`` are log odds, from the mean of the component; NaN for a checkpoint that no other one of
    its component was compared with. ``connected``: all are one component, so that one ranking may be shown.
    ``apart`` of shape (K, K) holds the standard errors of differences, NaN between components. ``prompts`` counts those
    with a verdict within the component.
    """

    strength: Floats
    error: Floats
    component: Ints
    connected: bool
    apart: Floats
    prompts: Ints

    def interval(self, checkpoint: int, alpha: float = 0.05) -> Interval | None:
        """Of its strength; ``None`` below 5 prompts and for a checkpoint that was compared with no other."""
        if self.prompts[checkpoint] < MIN_PROMPTS or np.isnan(self.error[checkpoint]):
            return None
        half = self._quantile(checkpoint, alpha) * float(self.error[checkpoint])
        return Interval(float(self.strength[checkpoint]) - half, float(self.strength[checkpoint]) + half)

    def difference(self, one: int, other: int, alpha: float = 0.05) -> Difference | None:
        """How much stronger the one is than the other; ``None`` where no chain of comparisons links them."""
        if one == other or self.component[one] != self.component[other]:
            return None
        gap, error = float(self.strength[one] - self.strength[other]), float(self.apart[one, other])
        found = None
        if self.prompts[one] >= MIN_PROMPTS:
            half = self._quantile(one, alpha) * error
            found = Interval(gap - half, gap + half)
        return Difference(
            gap=gap,
            error=error,
            interval=found,
            win_rate=float(expit(gap)),
            win_interval=Interval(float(expit(found.low)), float(expit(found.high))) if found else None,
        )

    def ranks(self, alpha: float = 0.05) -> list[tuple[int, int]]:
        """The best and the worst rank of each checkpoint within its component, 1 for the strongest.

        A checkpoint is behind those whose difference from it excludes 0. All ranges hold together with probability
        1 - alpha, by Bonferroni over the differences of the component. Below 5 prompts nothing is excluded.
        """
        sizes = np.bincount(self.component)[self.component]
        found = []
        for own, size in enumerate(sizes):
            better = worse = 0
            if size > 1 and self.prompts[own] >= MIN_PROMPTS:
                gaps = self.strength - self.strength[own]  # NaN outside of the component, which is neither
                half = self._quantile(own, alpha / (size * (size - 1) / 2)) * self.apart[own]
                better, worse = int((gaps > half).sum()), int((gaps < -half).sum())
            found.append((1 + better, int(size) - worse))
        return found

    def _quantile(self, checkpoint: int, alpha: float) -> float:
        return -float(stdtrit(self.prompts[checkpoint] - 1, alpha / 2))


def fit(
    first: ArrayLike,
    second: ArrayLike,
    prompts: ArrayLike,
    wins_first: ArrayLike,
    wins_second: ArrayLike,
    ties: ArrayLike,
    *,
    checkpoints: int,
    pseudo_wins: float = PSEUDO_WINS,
) -> Strengths:
    """Strengths from one row a cell, which is two checkpoints on one prompt; cells may come in any order and repeat.

    Args:
        first: length cells, the number of the one checkpoint, from 0 to ``checkpoints`` - 1.
        second: the number of the other one.
        prompts: what the prompt is called.
        wins_first: verdicts that prefer the first; need not be whole, a judge gives a quarter now and then.
        wins_second: verdicts that prefer the second.
        ties: verdicts that prefer neither.
        checkpoints: K, compared or not.
        pseudo_wins: added both ways between any two that met. 0 gives the maximum of the likelihood; then components
            are those that a chain of wins links in both directions, as there is no finite strength otherwise.

    Raises:
        ValueError: lengths differ, a number lies outside, a checkpoint meets itself, or a count is negative.
        ArithmeticError: Newton's method has not converged.
    """
    one, other = np.asarray(first, dtype=np.intp), np.asarray(second, dtype=np.intp)
    won, lost, tied = (np.asarray(count, dtype=np.float64) for count in (wins_first, wins_second, ties))
    groups, places = np.unique(np.asarray(prompts), return_inverse=True)
    _check(one, other, places, (won, lost, tied), checkpoints)
    square = (checkpoints, checkpoints)
    table = _sums(one, other, won + tied / 2, square) + _sums(other, one, lost + tied / 2, square)
    table = table + pseudo_wins * (table + table.T > 0)
    count, component = connected_components(table, directed=True, connection="strong")
    same = component[:, None] == component[None, :]
    table = np.where(same, table, 0.0)
    strength = _newton(table, same)
    n = np.where(same[one, other], won + lost + tied, 0.0)
    added = np.where(n > 0, won + tied / 2 - n * _rates(strength)[one, other], 0.0)
    shape = (groups.size, checkpoints)
    prompts_seen = ((_sums(places, one, n, shape) @ same) > 0).sum(axis=0)
    scores = _sums(places, one, added, shape) - _sums(places, other, added, shape)
    bread = _inverse(_information(table, strength), same)
    sandwich = bread @ _meat(scores, prompts_seen) @ bread
    alone = np.bincount(component)[component] == 1
    return Strengths(
        strength=np.where(alone, np.nan, strength),
        error=np.where(alone, np.nan, np.sqrt(np.maximum(np.diag(sandwich), np.diag(bread)))),
        component=np.asarray(component, dtype=np.intp),
        connected=int(count) == 1,
        apart=np.where(same & ~np.eye(checkpoints, dtype=bool), _apart(bread, sandwich), np.nan),
        prompts=prompts_seen,
    )


def _check(one: Ints, other: Ints, places: Ints, counts: tuple[Floats, ...], checkpoints: int) -> None:
    if any(column.shape != one.shape for column in (other, places, *counts)):
        raise ValueError("first, second, prompts, wins and ties have one entry a cell each")
    if one.size and not (min(one.min(), other.min()) >= 0 and max(one.max(), other.max()) < checkpoints):
        raise ValueError(f"checkpoints are numbered from 0 to {checkpoints - 1}")
    if (one == other).any():
        raise ValueError("a checkpoint does not meet itself")
    if not all((column >= 0).all() for column in counts):
        raise ValueError("a count of verdicts cannot be negative")


def _sums(rows: Ints, columns: Ints, values: Floats, shape: tuple[int, int]) -> Floats:
    sums = np.bincount(rows * shape[1] + columns, weights=values, minlength=shape[0] * shape[1])
    return sums.reshape(shape).astype(np.float64, copy=False)


def _newton(table: Floats, same: NDArray[np.bool_]) -> Floats:
    """The strengths with the largest likelihood, summing to 0 over each component."""
    games = table + table.T
    strength: Floats = np.zeros(len(table))
    reached = _log_likelihood(table, strength)
    for _ in range(_STEPS):
        gradient = (table - games * _rates(strength)).sum(axis=1)
        step = _inverse(_information(table, strength), same) @ gradient
        while _log_likelihood(table, strength + step) < reached - _ROUNDING * abs(reached):
            step = step / 2
        strength = strength + step
        reached = _log_likelihood(table, strength)
        if np.abs(step).max(initial=0) <= _CONVERGED:
            return strength
    raise ArithmeticError(f"the strengths of {len(table)} checkpoints have not converged in {_STEPS} steps")


def _rates(strength: Floats) -> Floats:
    found: Floats = expit(strength[:, None] - strength[None, :])
    return found


def _log_likelihood(table: Floats, strength: Floats) -> float:
    return float((table * log_expit(strength[:, None] - strength[None, :])).sum())


def _information(table: Floats, strength: Floats) -> Floats:
    rates = _rates(strength)
    between = (table + table.T) * rates * (1 - rates)
    found: Floats = np.diag(between.sum(axis=1)) - between
    return found


def _inverse(information: Floats, same: NDArray[np.bool_]) -> Floats:
    """The inverse where strengths sum to 0 over each component: what is missing is filled up and taken out again."""
    level = same / same.sum(axis=1, keepdims=True)
    found: Floats = np.linalg.inv(information + level) - level
    return found


def _meat(scores: Floats, prompts: Ints) -> Floats:
    """Products of what each prompt adds to the gradient, times G/(G-1) with the prompts G of each component."""
    # One prompt says nothing about the variance between prompts.
    factor: Floats = np.sqrt(np.where(prompts > 1, prompts / np.maximum(prompts - 1, 1), 0.0))
    weighted = scores * factor
    found: Floats = weighted.T @ weighted
    return found


def _apart(bread: Floats, sandwich: Floats) -> Floats:
    """Standard errors of differences, the larger of the two kinds."""
    both = [np.diag(one)[:, None] + np.diag(one)[None, :] - 2 * one for one in (bread, sandwich)]
    found: Floats = np.sqrt(np.maximum(np.maximum(*both), 0))
    return found
