import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import betaln
from scipy.stats import beta, binomtest, fisher_exact
from statsmodels.stats.proportion import proportion_confint

from app.domain.intervals import (
    Interval,
    clopper_pearson,
    fixed,
    live,
    live_from_counts,
    log_e_value,
    too_early,
    wilson,
)
from app.domain.tally import ClusterSums, Summary, Tally, summarise

REFERENCE_CLUSTERS: list[list[float]] = [[1, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1], [1, 0.5, 0]]

alphas = st.floats(min_value=0.0005, max_value=0.5)
rates = st.floats(min_value=0, max_value=1)
sizes = st.floats(min_value=0.5, max_value=1e6)
degrees = st.none() | st.integers(min_value=1, max_value=200)


def summary_of(observations: list[list[float]]) -> Summary:
    summary = summarise(ClusterSums.from_observations(observations))
    assert summary is not None
    return summary


def one_vote_a_prompt(wins: int, losses: int, ties: int = 0) -> Summary:
    return summary_of([[1.0]] * wins + [[0.0]] * losses + [[0.5]] * ties)


def intervals(p: float, n: float, df: int | None, alpha: float) -> list[Interval]:
    return [wilson(p, n, df, alpha), live_from_counts(p * n, n, df, alpha)]


# ---------------------------------------------------------------------------------------- reference values


@pytest.mark.parametrize(
    ("successes", "n", "wilson_interval", "exact_interval"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0, 0.1611), (0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_wilson_and_clopper_pearson_reference_values(
    successes: int, n: int, wilson_interval: tuple[float, float], exact_interval: tuple[float, float]
) -> None:
    assert wilson(successes / n, n) == pytest.approx(wilson_interval, abs=5e-5)
    assert clopper_pearson(successes, n) == pytest.approx(exact_interval, abs=5e-5)


@pytest.mark.parametrize(
    ("p", "n_eff", "df", "expected"),
    [
        (0.6, 40, 19, (0.43590, 0.74436)),
        (0.55, 100, 9, (0.43777, 0.65736)),
        (0.5, 57, 56, (0.37177, 0.62823)),
    ],
)
def test_wilson_with_students_t_reference_values(
    p: float, n_eff: float, df: int, expected: tuple[float, float]
) -> None:
    assert wilson(p, n_eff, df) == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize(
    ("s", "n", "expected"),
    [
        (10, 13, (0.3675, 0.9756)),
        (6, 15, (0.1206, 0.7369)),
        (28.5, 57, (0.3172, 0.6828)),
        (60, 100, (0.4492, 0.7389)),
        (500, 1000, (0.4481, 0.5519)),
        (600, 1000, (0.5471, 0.6514)),
        (13, 13, (0.6156, 1)),
        (0, 15, (0, 0.3495)),
    ],
)
def test_live_reference_values(s: float, n: float, expected: tuple[float, float]) -> None:
    assert live_from_counts(s, n) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("s", "n", "expected"), [(10, 13, 2.045954), (13, 13, 585.142857)])
def test_the_evenly_spread_half_of_the_e_value(s: int, n: int, expected: float) -> None:
    near_half = math.exp(betaln(10 + s, 10 + n - s) - betaln(10, 10)) * 2**n
    even = 2 * math.exp(log_e_value(0.5, s, n)) - near_half
    assert even == pytest.approx(expected, abs=5e-7)
    assert even == pytest.approx(2**n / ((n + 1) * math.comb(n, s)))


@pytest.mark.parametrize(
    ("s", "n", "expected"), [(10, 13, 1.8609), (6, 15, 0.6338), (28.5, 57, 0.3344), (60, 100, 1.5498)]
)
def test_e_value_of_the_mixture_reference_values(s: float, n: float, expected: float) -> None:
    assert math.exp(log_e_value(0.5, s, n)) == pytest.approx(expected, abs=5e-5)


def test_the_reference_clusters() -> None:
    summary = summary_of(REFERENCE_CLUSTERS)
    assert fixed(summary) == pytest.approx((0.2004, 0.8722), abs=5e-5)
    assert live(summary) == pytest.approx((0.0877, 0.9601), abs=5e-5)


def test_the_origin_of_the_project_recomputed() -> None:
    assert binomtest(10, 13).pvalue == pytest.approx(0.092, abs=5e-4)
    assert binomtest(6, 15).pvalue == pytest.approx(0.61, abs=5e-3)
    assert binomtest(28, 57).pvalue == pytest.approx(1.0, abs=5e-3)
    assert fisher_exact([[10, 3], [6, 9]]).pvalue == pytest.approx(0.067, abs=5e-4)
    for wins, losses in [(10, 3), (6, 9), (28, 29)]:
        summary = one_vote_a_prompt(wins, losses)
        for interval in (live(summary), fixed(summary), clopper_pearson(wins, wins + losses)):
            assert interval.low < 0.5 < interval.high, (wins, losses)


def test_three_fair_runs_of_five_prompts_differ_by_37_points_on_average() -> None:
    share = [math.comb(5, wins) / 2**5 for wins in range(6)]
    expected_range = sum(
        share[a] * share[b] * share[c] * (max(a, b, c) - min(a, b, c)) / 5 for a, b, c in product(range(6), repeat=3)
    )
    assert expected_range == pytest.approx(0.37, abs=5e-3)


# ------------------------------------------------------------------------------------------------- oracles


@given(st.integers(1, 500), st.integers(0, 500), alphas)
def test_wilson_and_clopper_pearson_agree_with_statsmodels(n: int, successes: int, alpha: float) -> None:
    successes = min(successes, n)
    ours = [wilson(successes / n, n, alpha=alpha), clopper_pearson(successes, n, alpha)]
    theirs = [proportion_confint(successes, n, alpha, method) for method in ("wilson", "beta")]
    assert np.allclose(ours, theirs, atol=1e-12)


@given(st.integers(1, 30), st.integers(0, 30), st.floats(0.05, 0.95))
def test_the_e_value_is_the_mean_gain_over_all_bets(n: int, s: int, m: float) -> None:
    s = min(s, n)

    def gain(rate: float) -> float:
        stake = (beta.pdf(rate, 1, 1) + beta.pdf(rate, 10, 10)) / 2
        return float(stake * (rate / m) ** s * ((1 - rate) / (1 - m)) ** (n - s))

    assert math.exp(log_e_value(m, s, n)) == pytest.approx(quad(gain, 0, 1, limit=200)[0], rel=1e-6)


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0.001, 0.999))
def test_betting_is_fair_one_more_vote_changes_nothing_on_average(s: float, f: float, m: float) -> None:
    now = log_e_value(m, s, s + f)
    after_win, after_loss = log_e_value(m, s + 1, s + f + 1), log_e_value(m, s, s + f + 1)
    assert m * math.exp(after_win - now) + (1 - m) * math.exp(after_loss - now) == pytest.approx(1, rel=1e-7)


@given(st.floats(0.01, 0.99), st.floats(1, 1e6), alphas)
def test_at_the_ends_of_the_live_interval_the_e_value_is_one_over_alpha(p: float, n: float, alpha: float) -> None:
    interval = live_from_counts(p * n, n, alpha=alpha)
    for end in interval:
        if 1e-12 < end < 1 - 1e-9:  # beyond, a float can no longer hold the end precisely enough
            assert log_e_value(end, p * n, n) == pytest.approx(-math.log(alpha), abs=1e-5)


def chance_of_ever_excluding_a_half(votes: int, first_look: int, fewest_wins: dict[int, int]) -> float:
    """Exact, over all sequences of fair votes, when wins or losses of at least ``fewest_wins`` exclude it."""
    alive = np.array([1.0])
    for n in range(1, votes + 1):
        alive = (np.append(alive, 0) + np.append(0, alive)) / 2
        if n >= first_look and fewest_wins[n] <= n:
            alive[fewest_wins[n] :] = 0
            alive[: n - fewest_wins[n] + 1] = 0
    return float(1 - alive.sum())


@pytest.mark.parametrize(("votes", "ordinary", "lasting"), [(57, 0.24, 0.016), (1000, 0.47, 0.035)])
def test_looking_after_every_vote_breaks_an_ordinary_interval_and_not_the_live_one(
    votes: int, ordinary: float, lasting: float
) -> None:
    by_wilson, by_bets = {}, {}
    wilson_wins = live_wins = 1
    for n in range(1, votes + 1):
        while wilson_wins <= n and wilson(wilson_wins / n, n).low <= 0.5:
            wilson_wins += 1
        while live_wins <= n and log_e_value(0.5, live_wins, n) < math.log(20):
            live_wins += 1
        by_wilson[n], by_bets[n] = wilson_wins, live_wins
    assert chance_of_ever_excluding_a_half(votes, 10, by_wilson) == pytest.approx(ordinary, abs=0.005)
    assert chance_of_ever_excluding_a_half(votes, 1, by_bets) < lasting


# ---------------------------------------------------------------------------------------------- properties


@given(rates, sizes, degrees, alphas)
def test_an_interval_contains_its_rate_and_stays_between_0_and_1(
    p: float, n: float, df: int | None, alpha: float
) -> None:
    for low, high in intervals(p, n, df, alpha):
        assert 0 <= low <= p + 1e-12
        assert p - 1e-12 <= high <= 1
        assert low < high


@given(rates, sizes, degrees, alphas)
def test_an_interval_is_mirrored_when_the_sides_are_swapped(p: float, n: float, df: int | None, alpha: float) -> None:
    for ours, theirs in zip(intervals(p, n, df, alpha), intervals(1 - p, n, df, alpha), strict=True):
        assert ours == pytest.approx((1 - theirs.high, 1 - theirs.low), abs=1e-9)


@given(rates, sizes, degrees, alphas, st.floats(min_value=0.1, max_value=0.99))
def test_a_smaller_alpha_never_narrows_an_interval(
    p: float, n: float, df: int | None, alpha: float, factor: float
) -> None:
    for wide, narrow in zip(intervals(p, n, df, alpha * factor), intervals(p, n, df, alpha), strict=True):
        assert wide.low <= narrow.low + 1e-12
        assert wide.high >= narrow.high - 1e-12


@given(rates, st.floats(min_value=0.5, max_value=1e5), degrees, alphas, st.floats(min_value=1, max_value=10))
def test_more_votes_never_widen_an_interval(p: float, n: float, df: int | None, alpha: float, factor: float) -> None:
    for few, many in zip(intervals(p, n, df, alpha), intervals(p, n * factor, df, alpha), strict=True):
        assert many.high - many.low <= few.high - few.low + 1e-9


@given(rates, sizes, st.integers(min_value=1, max_value=200), alphas)
def test_fewer_prompts_never_narrow_an_interval(p: float, n: float, df: int, alpha: float) -> None:
    for few, more in zip(intervals(p, n, df, alpha), intervals(p, n, df + 1, alpha), strict=True):
        assert few.low <= more.low + 1e-9
        assert few.high >= more.high - 1e-9


# ---------------------------------------------------------------------------------------------- edge cases


def test_one_prompt_or_no_vote_excludes_nothing() -> None:
    assert wilson(0.5, 0) == (0, 1)
    assert live_from_counts(0, 0) == (0, 1)
    assert clopper_pearson(0, 0) == (0, 1)
    one_prompt = summary_of([[1.0] * 12 + [0.0] * 8])
    assert live(one_prompt) == fixed(one_prompt) == (0, 1)
    assert too_early(one_prompt)


def test_a_million_votes_keep_their_precision() -> None:
    n = 10**6
    for p in (0.01, 0.5, 0.77):
        interval = live_from_counts(p * n, n)
        # Half widths near sqrt(2 p (1-p) log(sqrt(n)/alpha) / n), far from the rounding of the log e-value.
        assert 0.001 < (interval.high - interval.low) / math.sqrt(p * (1 - p)) < 0.015
        for end in interval:
            assert log_e_value(end, p * n, n) == pytest.approx(math.log(20), abs=1e-5)
    assert live_from_counts(0, n).high == pytest.approx(1.75042e-5, rel=1e-4)
    assert live_from_counts(n, n).low == pytest.approx(1 - 1.75042e-5, rel=1e-9)


@pytest.mark.parametrize("s", [5e-324, 1e-300, 1e-9, 13 - 1e-15, 13 - 1e-9])
def test_rates_next_to_0_and_1_have_an_interval(s: float) -> None:
    interval = live_from_counts(s, 13)
    assert 0 <= interval.low <= s / 13 <= interval.high <= 1
    assert interval.high - interval.low == pytest.approx(1 - live_from_counts(13, 13).low, abs=1e-3)


@pytest.mark.parametrize(("s", "n", "alpha"), [(-1, 5, 0.05), (6, 5, 0.05), (math.nan, 5, 0.05), (2, 5, 0), (2, 5, 1)])
def test_impossible_arguments_are_refused(s: float, n: float, alpha: float) -> None:
    with pytest.raises(ValueError, match=r"rate|alpha"):
        live_from_counts(s, n, alpha=alpha)
    with pytest.raises(ValueError, match=r"rate|alpha"):
        wilson(s / n, n, alpha=alpha)


def test_too_early_below_five_prompts_five_decisive_votes_or_ten_effective_ones() -> None:
    assert too_early(summary_of([[1.0, 0.0, 1.0, 0.0, 1.0]] * 4))
    assert not too_early(summary_of([[1.0, 0.0, 1.0, 0.0, 1.0]] * 5))
    assert too_early(one_vote_a_prompt(3, 1, ties=40))
    assert not too_early(one_vote_a_prompt(3, 2, ties=40))
    assert too_early(summary_of(REFERENCE_CLUSTERS))
    assert too_early(one_vote_a_prompt(9, 0))
    assert not too_early(one_vote_a_prompt(10, 0))


@pytest.mark.parametrize("wins", range(1, 11))
def test_eleven_votes_on_eleven_prompts_are_enough_whatever_the_rounding(wins: int) -> None:
    assert not too_early(one_vote_a_prompt(wins, 11 - wins))
    assert too_early(one_vote_a_prompt(wins - 1, 11 - wins)) == (wins > 1)


def test_the_first_thirteen_prompts_of_the_project_get_an_interval() -> None:
    summary = summarise(ClusterSums.from_tallies([Tally(1, 0, 0)] * 10 + [Tally(0, 1, 0)] * 3))
    assert summary is not None
    assert not too_early(summary)
    assert live(summary) == pytest.approx((0.3180, 0.9842), abs=5e-5)
