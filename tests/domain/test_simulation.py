import random
from collections import Counter
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import BadInputError
from app.domain.simulation import Taste, draw, prompt_rates
from app.domain.terms import Outcome

SHARES = st.floats(0, 1)


def dice(seed: int = 3) -> random.Random:
    return random.Random(seed)  # noqa: S311


@given(rate=SHARES, noise=SHARES, ties=SHARES, seed=st.integers(0, 1000))
def test_every_taste_that_is_accepted_can_be_drawn_from(rate: float, noise: float, ties: float, seed: int) -> None:
    try:
        taste = Taste(rate, noise, ties)
    except BadInputError:
        return
    rng = dice(seed)
    rates = prompt_rates(taste, 20, rng)
    assert all(0 <= one <= 1 for one in rates)
    assert {draw(taste, one, rng) for one in rates} <= set(Outcome)


@pytest.mark.parametrize("noise", [0, 0.1, 0.6, 1])
@pytest.mark.parametrize(("rate", "ties"), [(0.65, 0), (0.65, 0.2), (0.3, 0.4), (0, 0), (1, 0), (0.5, 1)])
def test_the_rate_is_the_mean_over_prompts_whatever_noise_and_ties(rate: float, ties: float, noise: float) -> None:
    taste, rng = Taste(rate, noise, ties), dice()
    worth = {Outcome.FIRST: 0.0, Outcome.SECOND: 1.0, Outcome.TIE: 0.5}
    drawn = [worth[draw(taste, one, rng)] for one in prompt_rates(taste, 20_000, rng)]
    assert mean(drawn) == pytest.approx(rate, abs=0.02)  # five standard errors


@pytest.mark.parametrize("noise", [0, 0.1, 0.6, 1])
def test_the_noise_is_the_correlation_of_two_verdicts_on_a_prompt(noise: float) -> None:
    taste, rng = Taste(0.6, noise, 0), dice()
    both = Counter((draw(taste, one, rng), draw(taste, one, rng)) for one in prompt_rates(taste, 40_000, rng))
    together = both[Outcome.SECOND, Outcome.SECOND] / both.total()
    assert (together - 0.36) / 0.24 == pytest.approx(noise, abs=0.03)


def test_ties_are_as_frequent_as_asked() -> None:
    taste, rng = Taste(0.5, 0, 0.3), dice()
    drawn = Counter(draw(taste, 0.5, rng) for _ in range(20_000))
    assert drawn[Outcome.TIE] / drawn.total() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"rate": 65}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"rate": 0.5, "noise": -0.1}, "noise"),
        ({"rate": 0.5, "ties": 1.1}, "ties"),
        ({"rate": 0.95, "ties": 0.2}, "fewer ties"),
    ],
)
def test_what_cannot_be_is_refused_in_words(wrong: dict[str, float], word: str) -> None:
    with pytest.raises(BadInputError, match=word):
        Taste(**wrong)
