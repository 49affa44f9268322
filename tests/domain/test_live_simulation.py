"""Whole studies, simulated: how often each interval misses the true rate.

The first test proves that the formulas of the simulation are those of the domain at every look.
"""

import math

import numpy as np
import pytest

from app.domain.intervals import fixed, live, log_e_value
from app.domain.tally import ClusterSums, summarise
from tests.domain.studies import ALPHA, Look, looks, rates_of_prompts


@pytest.mark.parametrize("tie_rate", [0.0, 0.3])
def test_the_simulated_formulas_are_those_of_the_domain(tie_rate: float) -> None:
    rng = np.random.default_rng(11)
    prompts, rate = 4, 0.6
    for look in looks(rng, rates_of_prompts(rng, rate, (25, prompts)), votes=5, tie_rate=tie_rate):
        live_low, live_high = look.live()
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
            assert (live_low[study], live_high[study]) == pytest.approx((low, high), abs=1e-9)
            low, high = fixed(summary)
            assert fixed_excludes[study] == (not low <= rate <= high)


def test_the_simulated_e_value_is_that_of_the_domain() -> None:
    look = Look(np.array([10 / 13]), np.array([13.0]), 10**9, [], np.zeros((1, 2)))
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
    prompt_rates = rates_of_prompts(rng, rate, (studies, prompts))
    for look in looks(rng, prompt_rates, votes=votes, tie_rate=tie_rate):
        ever_missed |= look.excluded_by_live(target)
    assert look is not None
    covered_at_the_end = 1 - look.excluded_by_fixed(target).mean()
    assert ever_missed.mean() < ALPHA
    assert covered_at_the_end >= 0.93
