"""How probable a plan tells a difference: exact figures, held against the rule itself on simulated studies."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.intervals import live, too_early
from app.domain.planner import LIVE_VOTES, Assumptions, power
from app.domain.power import chance, prompts_needed, smallest
from app.domain.tally import ClusterSums, summarise

WITHOUT_TIES = Assumptions(tie_rate=0)
ONCE = Assumptions(tie_rate=0, live=False)


@pytest.mark.parametrize(("votes", "percent"), [(13, 5.9), (15, 9.2), (57, 27), (100, 46), (200, 79)])
def test_read_once_it_is_the_exact_test(votes: int, percent: float) -> None:
    assert 100 * chance(votes, 1, 0.6, ONCE) == pytest.approx(percent, abs=0.05 if percent < 10 else 0.5)


@pytest.mark.parametrize(("p", "votes"), [(0.55, 786), (0.60, 199), (0.65, 90), (0.70, 49), (10 / 13, 28)])
def test_the_prompts_of_one_reading_are_those_of_the_exact_test(p: float, votes: int) -> None:
    assert prompts_needed(p, 1, ONCE) == votes


@pytest.mark.parametrize("p", [0.60, 0.65, 0.70, 10 / 13])
def test_live_reading_needs_about_what_simulated_studies_needed(p: float) -> None:
    # Those took the variance for known; that it is estimated from few prompts costs a few votes more.
    assert LIVE_VOTES[p] * 0.99 < prompts_needed(p, 1, WITHOUT_TIES) < LIVE_VOTES[p] * 1.08
    assert prompts_needed(1 - p, 1, WITHOUT_TIES) == prompts_needed(p, 1, WITHOUT_TIES)


def test_the_probabilities_of_all_ends_add_up() -> None:
    # Every study of a certain winner is told from one half, and of two equals far fewer than the interval may miss.
    assert chance(60, 1, 1.0, WITHOUT_TIES) == pytest.approx(1.0)
    assert 0 < chance(400, 1, 0.5, WITHOUT_TIES) < 0.05


@given(st.integers(5, 300), st.integers(1, 6), st.floats(0.5, 0.95), st.floats(0, 0.1), st.booleans())
@settings(deadline=None)
def test_it_is_a_probability_that_grows_with_the_difference(
    prompts: int, votes: int, p: float, ties: float, reading: bool
) -> None:
    given_ = Assumptions(tie_rate=ties, live=reading)
    found = chance(prompts, votes, p, given_)
    assert 0 <= found <= 1
    assert found == chance(prompts, votes, 1 - p, given_)
    assert found <= chance(prompts, votes, min(p + 0.05, 0.5 + given_.largest_effect), given_) + 1e-9


@given(st.integers(20, 400), st.integers(1, 4), st.booleans(), st.floats(0, 0.4))
@settings(deadline=None, max_examples=30)
def test_the_smallest_rate_is_told_with_the_wanted_power(prompts: int, votes: int, reading: bool, ties: float) -> None:
    given_ = Assumptions(tie_rate=ties, live=reading)
    p = smallest(prompts, votes, given_)
    if p is None:
        assert chance(prompts, votes, 0.5 + given_.largest_effect, given_) < given_.power
    else:
        assert chance(prompts, votes, p, given_) == pytest.approx(given_.power, abs=0.001)


@pytest.mark.parametrize("votes", [1, 3])
def test_so_many_prompts_are_enough_and_fewer_are_not(votes: int) -> None:
    needed = prompts_needed(0.65, votes)
    assert chance(needed, votes, 0.65) >= 0.8 > chance(needed - 1, votes, 0.65)
    at_most = smallest(needed, votes)
    assert at_most is not None
    assert at_most <= 0.65


def test_more_prompts_tell_more_than_more_votes_on_the_same() -> None:
    few, same, more = smallest(57, 1), smallest(57, 3), smallest(171, 1)
    assert few is not None
    assert same is not None
    assert more is not None
    assert more < same < few


def test_beyond_the_exact_figures_nothing_jumps() -> None:
    below, above = chance(2_270, 1, 0.54), chance(2_280, 1, 0.54)
    assert below == pytest.approx(above, abs=0.02)
    assert smallest(50_000, 2) == pytest.approx(0.508, abs=0.002)


@pytest.mark.parametrize(("prompts", "votes"), [(0, 1), (4, 50), (5, 1)])
def test_too_small_a_plan_tells_nothing(prompts: int, votes: int) -> None:
    assert smallest(prompts, votes) is None


@pytest.mark.parametrize("p", [0.5, 0.96, 0.03])
@pytest.mark.parametrize("reading", [True, False])
def test_a_rate_that_no_number_of_prompts_can_show_is_refused(p: float, reading: bool) -> None:
    with pytest.raises(ValueError, match="with 10% ties"):
        prompts_needed(p, 1, Assumptions(live=reading))
    with pytest.raises(ValueError, match="does not go with 10% ties"):
        chance(20, 1, 0.99)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompts", "votes", "p", "given_"),
    [
        (13, 1, 0.8, Assumptions()),
        (57, 1, 0.6, WITHOUT_TIES),
        (57, 1, 0.72, Assumptions()),
        (57, 3, 0.68, Assumptions()),
        (20, 5, 0.75, Assumptions()),
    ],
)
def test_simulated_studies_that_are_read_after_every_vote(
    prompts: int, votes: int, p: float, given_: Assumptions
) -> None:
    rng = np.random.default_rng(20)
    studies = 400
    told = sum(told_at_some_time(prompts, votes, p, given_, rng) for _ in range(studies)) / studies
    noise = 2.6 * math.sqrt(0.25 / studies)
    assert chance(prompts, votes, p, given_) == pytest.approx(told, abs=0.03 + noise)
    assert power(prompts * votes, p) > told, "one reading at the end of independent votes tells more"


def told_at_some_time(prompts: int, votes: int, p: float, given_: Assumptions, rng: np.random.Generator) -> bool:
    """One study: rounds over the prompts, whose own win rates vary, read after every vote by the rule of the pages."""
    wins = 0.5 + (p - 0.5) / (1 - given_.tie_rate)
    # Ties are drawn vote by vote, so what lies between prompts is all in the votes that are none.
    of_one_vote = (1 - given_.tie_rate) * wins + given_.tie_rate / 4 - p**2
    between = given_.icc * of_one_vote / ((1 - given_.tie_rate) ** 2 * wins * (1 - wins))
    spread = (1 - between) / between
    own = rng.beta(wins * spread, (1 - wins) * spread, size=prompts)
    cast: list[list[float]] = [[] for _ in range(prompts)]
    for _ in range(votes):
        for place in range(prompts):
            tie = rng.random() < given_.tie_rate
            cast[place].append(0.5 if tie else float(rng.random() < own[place]))
            found = summarise(ClusterSums.from_observations([one for one in cast if one]))
            if found is None or too_early(found):
                continue
            span = live(found)
            if not span.low <= 0.5 <= span.high:
                return True
    return False
