"""Whole studies, simulated, many at a time: the formulas of ``app.domain`` repeated on arrays.

``test_live_simulation`` proves that the repetition is the same as the original at every look.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, ndtri, stdtrit, xlog1py, xlogy

Array = NDArray[np.float64]

ALPHA = 0.05
ICC = 0.3

_HALVINGS = 30


class Look(NamedTuple):
    """The state of all studies after one more vote in each; ``p`` and ``n_eff`` have shape (studies,).

    ``moves``: what each prompt moves the rate by, shape (studies, prompts seen).
    """

    p: Array
    n_eff: Array
    df: int
    observations: list[Array]
    moves: Array

    def excluded_by_live(self, rate: float) -> NDArray[np.bool_]:
        s, n, log_stakes = self._bets()
        return np.asarray(log_stakes - xlogy(s, rate) - xlog1py(n - s, -rate) >= -math.log(ALPHA))

    def excluded_by_fixed(self, rate: float) -> NDArray[np.bool_]:
        # Wilson's interval is every rate whose score test does not refuse it.
        t = stdtrit(self.df, 1 - ALPHA / 2)
        return np.asarray((self.p - rate) ** 2 > t**2 * rate * (1 - rate) / self.n_eff)

    def live(self) -> tuple[Array, Array]:
        """Both ends of the live interval, by halving what lies between the rate and 0 or 1."""
        s, n, log_stakes = self._bets()
        ends = []
        for end in (0.0, 1.0):
            inside, outside = self.p.copy(), np.full_like(self.p, end)
            for _ in range(_HALVINGS):
                middle = (inside + outside) / 2
                excluded = log_stakes - xlogy(s, middle) - xlog1py(n - s, -middle) >= -math.log(ALPHA)
                inside, outside = np.where(excluded, inside, middle), np.where(excluded, middle, outside)
            ends.append(np.where(self.p == end, end, inside))
        return ends[0], ends[1]

    def _bets(self) -> tuple[Array, Array, Array]:
        """Wins and votes by the weight they have, and the log of what the bets make of them."""
        n = self.n_eff * (ndtri(ALPHA / 2) / stdtrit(self.df, ALPHA / 2)) ** 2
        s = self.p * n
        even, near_half = betaln(1 + s, 1 + n - s), betaln(10 + s, 10 + n - s) - betaln(10, 10)
        return s, n, np.logaddexp(even, near_half) - math.log(2)

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Whether it is no longer too early, where there are no ties."""
        return (self.df >= 4) & (self.n_eff >= 10 - 1e-9)


def rates_of_prompts(rng: np.random.Generator, rate: float, shape: tuple[int, int]) -> Array:
    """Beta distributed around ``rate`` with the intra-class correlation ICC."""
    concentration = (1 - ICC) / ICC
    return rng.beta(rate * concentration, (1 - rate) * concentration, size=shape)


def looks(rng: np.random.Generator, prompt_rates: Array, *, votes: int, tie_rate: float = 0.0) -> Iterator[Look]:
    """Studies that go through the prompts ``votes`` times, seen after every vote from the second prompt on.

    ``prompt_rates``: shape (studies, prompts), the rate that each prompt has of its own.
    """
    studies, prompts = prompt_rates.shape
    n, total, squares = (np.zeros((studies, prompts)) for _ in range(3))
    observations: list[Array] = []
    for vote in range(votes * prompts):
        prompt = vote % prompts
        y = (rng.random(studies) < prompt_rates[:, prompt]).astype(np.float64)
        y[rng.random(studies) < tie_rate] = 0.5
        n[:, prompt] += 1
        total[:, prompt] += y
        squares[:, prompt] += y * y
        observations.append(y)
        seen = min(vote + 1, prompts)
        if seen > 1:
            p, n_eff = summaries(n[:, :seen], total[:, :seen], squares[:, :seen])
            moves = (total[:, :seen] - n[:, :seen] * p[:, None]) / (vote + 1)
            yield Look(p, n_eff, seen - 1, observations, moves)


def summaries(n: Array, total: Array, squares: Array) -> tuple[Array, Array]:
    """``summarise`` for many studies at once, for sums of shape (studies, prompts)."""
    prompts = n.shape[1]
    votes = n.sum(axis=1)
    p = total.sum(axis=1) / votes
    spread = squares.sum(axis=1) - votes * p * p
    residuals = total - n * p[:, None]
    between = prompts / (prompts - 1) * np.square(residuals).sum(axis=1) / votes**2
    variance = np.maximum(spread / (votes - 1) / votes, between)
    same = spread <= 1e-12 * squares.sum(axis=1)
    weight = p * (1 - p) / np.where(same, 1, variance)
    return p, np.where(same, votes, np.minimum(weight, 5 * votes))
