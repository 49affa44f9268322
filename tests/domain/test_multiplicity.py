import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from app.domain.intervals import fixed, live
from app.domain.multiplicity import adjusted, bonferroni, holm, p_value, simultaneous_fixed, simultaneous_live
from app.domain.tally import ClusterSums, Summary, summarise

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=20)
summaries = st.builds(
    Summary,
    p=st.floats(0, 1),
    n_eff=st.floats(10, 1000),
    df=st.integers(4, 200),
    n=st.just(100),
    prompts=st.just(50),
    decisive=st.just(50),
)
EARLY = summarise(ClusterSums.from_observations([[1.0], [1.0], [0.0]]))
CLEAR, OPEN = (Summary(p, 100, 49, 100, 50, 90) for p in (0.66, 0.55))


@pytest.mark.parametrize(
    "given_p",
    [[0.03], [0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 0.01], [1.0, 0.0, 0.2, 0.9, 0.02, 0.02], [0.6, 0.4]],
)
def test_holm_is_that_of_statsmodels(given_p: list[float]) -> None:
    assert holm(given_p) == pytest.approx(multipletests(given_p, method="holm")[1], abs=1e-12)


@given(p_values)
def test_holm_finds_what_bonferroni_finds_and_more(given_p: list[float]) -> None:
    found = holm(given_p)
    assert (found >= np.array(given_p)).all()
    assert (found <= np.minimum(1, np.array(given_p) * len(given_p)) + 1e-12).all()


@pytest.mark.parametrize("wrong", [[-0.1], [0.5, 1.1], [float("nan")]])
def test_what_is_no_p_value_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(wrong)


def test_each_of_k_cells_may_miss_a_kth() -> None:
    assert bonferroni(0.05, 20) == pytest.approx(0.0025)
    with pytest.raises(ValueError, match="among 0"):
        bonferroni(0.05, 0)


@given(summaries, st.floats(0.05, 0.95), st.floats(0.001, 0.5))
def test_the_p_value_is_below_alpha_exactly_where_the_interval_lacks_the_rate(
    summary: Summary, rate: float, alpha: float
) -> None:
    p = p_value(summary, rate)
    if abs(p - alpha) > 1e-6:
        low, high = fixed(summary, alpha)
        assert (p < alpha) == (not low <= rate <= high)


def test_one_prompt_refutes_nothing() -> None:
    assert p_value(Summary(1.0, 50, 0, 50, 1, 50)) == 1.0


def test_live_cells_share_one_error_with_those_that_are_still_too_early() -> None:
    found = simultaneous_live([CLEAR, None, EARLY, OPEN])
    assert found == [live(CLEAR, 0.05 / 4), None, None, live(OPEN, 0.05 / 4)]
    assert simultaneous_live([]) == []
    assert live(CLEAR).low > 0.5 > found[0].low  # one of four cells is not called where it would be alone


def test_a_report_has_simultaneous_intervals_and_holms_p_values() -> None:
    assert simultaneous_fixed([CLEAR, OPEN, None]) == [fixed(CLEAR, 0.05 / 3), fixed(OPEN, 0.05 / 3), None]
    found = adjusted([OPEN, None, CLEAR, EARLY])
    assert (found[1], found[3]) == (None, None)
    assert [found[0], found[2]] == pytest.approx(multipletests([p_value(OPEN), p_value(CLEAR)], method="holm")[1])
    assert adjusted([EARLY, None]) == [None, None]


def test_holm_errs_in_one_report_of_twenty_at_most() -> None:
    """Ten cells without a difference, 57 prompts each: how often any of them is called."""
    rng = np.random.default_rng(1)
    wins = rng.binomial(57, 0.5, (4000, 10))
    by_wins = [summarise(ClusterSums.from_observations([[1.0]] * won + [[0.0]] * (57 - won))) for won in range(58)]
    p = np.array([1.0 if one is None else p_value(one) for one in by_wins])
    called = np.array([holm(p[row]).min() < 0.05 for row in wins])
    assert 0.01 < called.mean() < 0.05
    assert (p[wins].min(axis=1) < 0.05).mean() > 0.25  # without the correction
