"""The length card against statsmodels, and where it refuses."""

from collections.abc import Callable

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import t as student

from app.domain.length import LengthCard, Measured, fit, length_card, spread

PROMPTS = 15


def made(phi: float, theta: float, seed: int = 1, each: int = 4) -> list[Measured]:
    """Pairs of a judge with this taste, judged in both orders: 0, a quarter, … 1."""
    rng = np.random.default_rng(seed)
    found = []
    for prompt in range(PROMPTS):
        for _ in range(each):
            longer_by = int(rng.normal(20, 300))
            p = 1 / (1 + np.exp(-(theta + phi * np.tanh(longer_by / 300))))
            y = float(rng.choice([0.0, 1.0], p=[1 - p, p]) if rng.random() < 0.8 else rng.choice([0.25, 0.5, 0.75]))
            found.append(Measured(f"prompt {prompt}", longer_by, y))
    return found


@pytest.mark.parametrize(("phi", "theta", "seed"), [(0.0, 0.0, 1), (1.5, -0.4, 2), (-0.8, 1.0, 3)])
def test_the_fit_is_that_of_statsmodels(phi: float, theta: float, seed: int) -> None:
    judged = made(phi, theta, seed)
    sd = spread([one.longer_by for one in judged])
    x = sm.add_constant(np.tanh(np.array([one.longer_by for one in judged]) / sd))
    prompts = np.array([int(one.prompt.split()[1]) for one in judged])
    oracle = sm.GLM([one.y for one in judged], x, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": prompts}
    )
    found = fit(judged, sd)
    assert (found.theta, found.phi) == pytest.approx(tuple(oracle.params), abs=1e-6)
    assert (found.theta_error, found.phi_error) == pytest.approx(tuple(oracle.bse), rel=1e-4)
    wide = student.ppf(0.975, PROMPTS - 1)
    assert found.phi_interval == pytest.approx(
        (oracle.params[1] - wide * oracle.bse[1], oracle.params[1] + wide * oracle.bse[1]), rel=1e-4
    )
    assert found.controlled == pytest.approx(1 / (1 + np.exp(-oracle.params[0])))
    assert found.controlled_interval.low < found.controlled < found.controlled_interval.high


def card(judged: list[Measured]) -> LengthCard:
    return length_card(judged, [one.longer_by for one in judged])


def test_a_judge_of_length_alone_shows_and_a_fair_one_does_not() -> None:
    drawn = card(made(2.5, 0.0, 4, each=8))
    assert drawn.pull.phi_interval.low > 0
    assert drawn.interval.low > 0.5
    assert drawn.pull.controlled_interval.low < 0.5 < drawn.pull.controlled_interval.high
    fair = card(made(0.0, 1.0, 5, each=8))
    assert fair.pull.phi_interval.low < 0 < fair.pull.phi_interval.high


def test_where_length_decides_everything_the_share_says_so_and_the_model_is_refused() -> None:
    found = card([Measured(one.prompt, one.longer_by, float(one.longer_by > 0)) for one in made(0, 0)])
    assert (found.longer, found.decisive, found.share) == (60, 60, 1.0)
    assert found.pull is None
    assert "so closely" in found.refused


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda one: Measured(f"prompt {int(one.prompt.split()[1]) % 9}", one.longer_by, one.y),
            "10 prompts and has 9",
        ),
        (lambda one: Measured(one.prompt, one.longer_by, 0.5), "at least 40 pairs with a preference and has 0"),
        (lambda one: Measured(one.prompt, abs(one.longer_by) + 1, one.y), "In 60 of 60 pairs"),
        (lambda one: Measured(one.prompt, 0, one.y), "so closely"),
    ],
)
def test_it_refuses_what_cannot_be_told(change: Callable[[Measured], Measured], says: str) -> None:
    found = card([change(one) for one in made(1.0, 0.0)])
    assert found.pull is None
    assert says in found.refused


def test_ties_and_equal_lengths_are_no_preference_for_length() -> None:
    found = card([Measured("p", 5, 1.0), Measured("p", -5, 0.75), Measured("p", 0, 1.0), Measured("p", 9, 0.5)])
    assert (found.longer, found.decisive) == (1, 2)
