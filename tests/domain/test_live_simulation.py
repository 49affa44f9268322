"""Whole studies, simulated: how often each interval misses the true rate.

Vectorised over studies, so it repeats the formulas of ``app.domain`` on arrays; the first test proves that
the repetition is the same as the original at every look.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import betaln, ndtri, stdtrit, xlog1py, xlogy

from app.domain.intervals import fixed, live, log_e_value
from app.domain.tally import ClusterSums, summarise

Array = NDArray[np.float64]

ALPHA = 0.05
ICC = 0.3


class Look(NamedTuple):
    """The state of all studies after one more vote in each; ``p`` and ``n_eff`` have shape (studies,)."""

    p: Array
    n_eff: Array
    df: int
    observations: list[Array]

    def excluded_by_live(self, rate: float) -> NDArray[np.bool_]:
        n = self.n_eff * (ndtri(ALPHA / 2) / stdtrit(self.df, ALPHA / 2)) ** 2
        s = self.p * n
        log_stakes = np.logaddexp(betaln(1 + s, 1 + n - s), betaln(10 + s, 10 + n - s) - betaln(10, 10))
        log_e = log_stakes - math.log(2) - xlogy(s, rate) - xlog1py(n - s, -rate)
        return np.asarray(log_e >= -math.log(ALPHA))

    def excluded_by_fixed(self, rate: float) -> NDArray[np.bool_]:
        # Wilson's interval is every rate whose score test does not refuse it.
        t = stdtrit(self.df, 1 - ALPHA / 2)
        return np.asarray((self.p - rate) ** 2 > t**2 * rate * (1 - rate) / self.n_eff)


def looks(
    rng: np.random.Generator, *, studies: int, prompts: int, votes: int, rate: float, tie_rate: float
) -> Iterator[Look]:
    """Studies that go through the prompts ``votes`` times, seen after every vote from the second prompt on.

    Each prompt has a rate of its own, beta distributed around ``rate`` with the intra-class correlation ICC.
    """
    concentration = (1 - ICC) / ICC
    prompt_rates = rng.beta(rate * concentration, (1 - rate) * concentration, size=(studies, prompts))
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
            yield Look(p, n_eff, seen - 1, observations)


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


@pytest.mark.parametrize("tie_rate", [0.0, 0.3])
def test_the_simulated_formulas_are_those_of_the_domain(tie_rate: float) -> None:
    rng = np.random.default_rng(11)
    prompts, rate = 4, 0.6
    for look in looks(rng, studies=25, prompts=prompts, votes=5, rate=rate, tie_rate=tie_rate):
        live_excludes, fixed_excludes = look.excluded_by_live(rate), look.excluded_by_fixed(rate)
        for study in range(25):
            votes = [float(y[study]) for y in look.observations]
            summary = summarise(ClusterSums.from_observations([votes[start::prompts] for start in range(prompts)]))
            assert summary is not None
            assert summary.df == look.df
            assert summary.p == pytest.approx(look.p[study])
            assert summary.n_eff == pytest.approx(look.n_eff[study])
            low, high = live(summary)
            assert live_excludes[study] == (not low < rate < high)
            low, high = fixed(summary)
            assert fixed_excludes[study] == (not low <= rate <= high)


def test_the_simulated_e_value_is_that_of_the_domain() -> None:
    look = Look(np.array([10 / 13]), np.array([13.0]), 10**9, [])
    edge = next(rate for rate in np.linspace(0.36, 0.38, 2001) if not look.excluded_by_live(float(rate)))
    assert log_e_value(float(edge), 10, 13) == pytest.approx(-math.log(ALPHA), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("tie_rate", [0.0, 0.2])
@pytest.mark.parametrize("rate", [0.5, 0.75])
@pytest.mark.parametrize("votes", [1, 3, 10])
@pytest.mark.parametrize("prompts", [5, 20, 57])
def test_looking_after_every_vote_is_safe_and_the_last_look_is_fair(
    prompts: int, votes: int, rate: float, tie_rate: float
) -> None:
    studies = 20_000
    # Ties pull the rate of a study towards one half.
    target = (1 - tie_rate) * rate + tie_rate / 2
    rng = np.random.default_rng([prompts, votes, int(100 * rate), int(100 * tie_rate)])
    ever_missed = np.zeros(studies, dtype=bool)
    look = None
    for look in looks(rng, studies=studies, prompts=prompts, votes=votes, rate=rate, tie_rate=tie_rate):
        ever_missed |= look.excluded_by_live(target)
    assert look is not None
    covered_at_the_end = 1 - look.excluded_by_fixed(target).mean()
    assert ever_missed.mean() < ALPHA
    assert covered_at_the_end >= 0.93
