import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from app.domain.resampling import Floats, jackknife, sum_by


def mean(sums: Floats) -> Floats:
    return sums[..., 0] / sums[..., 1]


def prompts(count: int, seed: int = 1) -> Floats:
    """Sums of three values between -1 and 1 on each prompt, and how many there are."""
    return np.column_stack([np.random.default_rng(seed).uniform(-0.9, 0.9, (count, 3)).sum(axis=1), np.full(count, 3)])


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=40))
def test_rows_of_a_prompt_are_added_up(rows: list[tuple[str, float, float]]) -> None:
    names = [row[0] for row in rows]
    by_hand = {name: np.zeros(2) for name in sorted(set(names))}
    for name, *cells in rows:
        by_hand[name] += cells
    assert sum_by(names, np.array([row[1:] for row in rows])) == pytest.approx(np.array(list(by_hand.values())))


def test_rows_that_have_no_prompt_are_refused() -> None:
    with pytest.raises(ValueError, match="2 prompts do not belong to 3 rows"):
        sum_by(["a", "b"], np.ones((3, 1)))


def test_a_mean_spreads_as_a_mean_does() -> None:
    """Of means it gives the usual standard error exactly, and on Fisher's scale nearly so where they are small."""
    sums = prompts(2_000)
    found = jackknife(sums, mean)
    assert found is not None
    per_prompt = sums[:, 0] / 3
    half = -stdtrit(1_999, 0.025) * per_prompt.std(ddof=1) / np.sqrt(2_000)
    assert tuple(found) == pytest.approx((per_prompt.mean() - half, per_prompt.mean() + half), abs=1e-4)


@given(st.integers(20, 60), st.integers(0, 50))
def test_the_order_of_prompts_changes_nothing_and_the_figure_lies_within(count: int, seed: int) -> None:
    sums = prompts(count, seed)
    found, turned = jackknife(sums, mean), jackknife(sums[::-1], mean)
    assert found is not None
    assert turned is not None
    assert tuple(turned) == pytest.approx(tuple(found))
    assert -1 <= found.low < mean(sums.sum(axis=0)) < found.high <= 1


def test_a_smaller_alpha_gives_a_wider_interval_within_its_bounds() -> None:
    sums = np.column_stack([np.r_[np.full(35, 0.99), np.full(5, -0.9)], np.ones(40)])
    usual, wide = (jackknife(sums, mean, alpha=alpha) for alpha in (0.05, 1e-9))
    assert usual is not None
    assert wide is not None
    assert -1 <= wide.low < usual.low < mean(sums.sum(axis=0)) < usual.high < wide.high <= 1


def test_there_is_no_interval_below_20_prompts() -> None:
    assert jackknife(prompts(19), mean) is None
    assert jackknife(prompts(20), mean) is not None


def test_there_is_no_interval_where_one_prompt_decides_whether_there_is_a_figure_or_none_matters() -> None:
    def of_what_differs(sums: Floats) -> Floats:
        return np.where(sums[..., 0] == 0, np.nan, 0.5)

    once, twice = np.zeros((30, 2)), np.zeros((30, 2))
    once[0] = twice[:2] = 1
    assert jackknife(once, of_what_differs) is None, "undefined without the first one"
    assert jackknife(twice, of_what_differs) is None, "the same without any"
    assert jackknife(np.ones((30, 2)), mean) is None
