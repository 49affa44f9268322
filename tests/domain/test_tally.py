import math
import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from app.domain.tally import ClusterSums, Summary, Tally, summarise

counts = st.integers(min_value=0, max_value=50)
tallies = st.builds(Tally, counts, counts, counts)
verdicts = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
prompts = st.lists(st.lists(verdicts, max_size=6), max_size=8)


def summary_of(observations: list[list[float]]) -> Summary:
    summary = summarise(ClusterSums.from_observations(observations))
    assert summary is not None
    return summary


def test_a_tally_counts_a_tie_as_half() -> None:
    tally = Tally(wins=10, losses=3, ties=4, both_bad=1)
    assert (tally.n, tally.decisive, tally.score) == (17, 13, 12.0)


@given(tallies, tallies)
def test_tallies_add_up_and_flip(one: Tally, other: Tally) -> None:
    both = one + other
    assert both.n == one.n + other.n
    assert both.score == one.score + other.score
    assert both.flipped().flipped() == both
    assert both.score + both.flipped().score == both.n


@pytest.mark.parametrize("wrong", [(-1, 0, 0, 0), (0, 0, -2, 0), (1, 1, 0, 1)])
def test_a_tally_that_no_votes_can_have_is_refused(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="verdicts"):
        Tally(*wrong)


@given(st.lists(tallies, max_size=8))
def test_tallies_and_their_observations_give_the_same_sums(per_prompt: list[Tally]) -> None:
    counted = ClusterSums.from_tallies(per_prompt)
    spelt_out = ClusterSums.from_observations([[1.0] * t.wins + [0.0] * t.losses + [0.5] * t.ties for t in per_prompt])
    for field in ("n", "total", "squares", "decisive"):
        assert np.array_equal(getattr(counted, field), getattr(spelt_out, field)), field


@pytest.mark.parametrize("y", [-0.1, 1.1, math.nan])
def test_an_observation_outside_0_to_1_is_refused(y: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        ClusterSums.from_observations([[0.5, y]])


@pytest.mark.parametrize("empty", [[], [Tally(0, 0, 0)], [Tally(0, 0, 0), Tally(0, 0, 0)]])
def test_no_verdict_gives_no_summary(empty: list[Tally]) -> None:
    assert summarise(ClusterSums.from_tallies(empty)) is None


def test_the_reference_clusters() -> None:
    summary = summary_of([[1, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1], [1, 0.5, 0]])
    assert summary.p == pytest.approx(0.566667, abs=5e-7)
    assert math.sqrt(summary.p * (1 - summary.p) / summary.n_eff) == pytest.approx(0.163299, abs=5e-7)
    assert summary.n_eff == pytest.approx(9.208333, abs=5e-7)
    assert (summary.n, summary.prompts, summary.df, summary.decisive) == (15, 5, 4, 14)


def test_prompts_without_a_verdict_do_not_count() -> None:
    summary = summary_of([[1], [], [0], []])
    assert (summary.prompts, summary.df) == (2, 1)


def test_a_judge_that_contradicts_itself_is_half_decisive_not_a_tie() -> None:
    assert summary_of([[0.25, 0.75], [0.5, 1.0]]).decisive == 3


@given(prompts)
def test_the_clustered_variance_is_that_of_a_regression_on_a_constant(
    observations: list[list[float]],
) -> None:
    y = np.array([value for prompt in observations for value in prompt])
    groups = np.array([number for number, prompt in enumerate(observations) for _ in prompt])
    if len(set(groups)) < 2 or y.std() == 0:
        return
    summary = summary_of(observations)
    with warnings.catch_warnings():
        # With two groups that agree exactly statsmodels divides by zero in figures not read here.
        warnings.simplefilter("ignore", RuntimeWarning)
        fit = sm.OLS(y, np.ones_like(y)).fit(cov_type="cluster", cov_kwds={"groups": groups})
        between = float(fit.cov_params()[0, 0])
    variance = max(between, y.var(ddof=1) / y.size)
    assert summary.p == pytest.approx(float(fit.params[0]))
    assert summary.n_eff == pytest.approx(min(summary.p * (1 - summary.p) / variance, 5 * y.size))


@given(prompts.filter(any))
def test_flipping_every_verdict_mirrors_the_rate_and_keeps_the_weight(
    observations: list[list[float]],
) -> None:
    summary = summary_of(observations)
    flipped = summary_of([[1 - y for y in prompt] for prompt in observations])
    assert flipped.p == pytest.approx(1 - summary.p)
    assert flipped.n_eff == pytest.approx(summary.n_eff)
    assert 0 < summary.n_eff <= 5 * summary.n


@given(st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]), st.lists(st.integers(1, 300), min_size=1, max_size=9))
def test_verdicts_that_are_all_the_same_weigh_what_they_are(y: float, sizes: list[int]) -> None:
    summary = summary_of([[y] * size for size in sizes])
    assert summary.n_eff == summary.n
    assert summary.p == pytest.approx(y)


def test_one_vote_a_prompt_weighs_almost_what_it_is() -> None:
    assert summary_of([[1.0]] * 10 + [[0.0]] * 3).n_eff == pytest.approx(12)


def test_verdicts_that_repeat_within_a_prompt_weigh_no_more_than_the_prompts() -> None:
    once = summary_of([[1.0]] * 10 + [[0.0]] * 3)
    ten_times = summary_of([[1.0] * 10] * 10 + [[0.0] * 10] * 3)
    assert ten_times.n_eff == pytest.approx(once.n_eff)


def test_prompts_that_agree_by_luck_do_not_make_verdicts_weigh_more_than_independent_ones() -> None:
    assert summary_of([[1.0, 0.0]] * 10).n_eff == pytest.approx(19)


def test_ties_make_verdicts_weigh_more_but_not_without_limit() -> None:
    summary = summary_of([[1.0]] * 3 + [[0.0]] * 3 + [[0.5]] * 194)
    assert summary.n_eff == 5 * 200
