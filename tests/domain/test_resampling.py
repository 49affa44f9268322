import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from app.domain import resampling
from app.domain.resampling import Floats, redrawn, sum_by


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
    sums = prompts(200)
    found = redrawn(sums, mean, np.random.default_rng(2), resamples=20_000)
    per_prompt = sums[:, 0] / 3
    half = -stdtrit(199, 0.025) * per_prompt.std() / np.sqrt(200)
    assert tuple(found) == pytest.approx((per_prompt.mean() - half, per_prompt.mean() + half), abs=3e-3)


def test_the_same_generator_gives_the_same_interval_however_much_fits_into_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once = redrawn(prompts(30), mean, np.random.default_rng(3))
    monkeypatch.setattr(resampling, "_AT_ONCE", 30 * 7)
    assert tuple(redrawn(prompts(30), mean, np.random.default_rng(3))) == pytest.approx(tuple(at_once), abs=1e-12)


def test_a_smaller_alpha_gives_a_wider_interval_within_its_bounds() -> None:
    sums = np.column_stack([np.r_[np.full(35, 0.99), np.full(5, -0.9)], np.ones(40)])
    usual, wide = (redrawn(sums, mean, np.random.default_rng(4), alpha=alpha) for alpha in (0.05, 1e-9))
    assert -1 <= wide.low < usual.low < mean(sums.sum(axis=0)) < usual.high < wide.high <= 1


def test_there_is_no_interval_below_20_prompts() -> None:
    assert redrawn(prompts(19), mean, np.random.default_rng(5)) is None
    assert redrawn(prompts(20), mean, np.random.default_rng(5)) is not None


def test_there_is_no_interval_where_redraws_are_undefined_or_all_the_same() -> None:
    def often_undefined(sums: Floats) -> Floats:
        return np.where(sums[..., 0] > sums[..., 1] * 0.1, np.nan, 0.0)

    sums = prompts(30)
    sums[:, 0] -= sums[:, 0].mean()
    assert redrawn(sums, often_undefined, np.random.default_rng(6)) is None
    assert redrawn(np.ones((30, 2)), mean, np.random.default_rng(6)) is None
