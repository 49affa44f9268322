import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit
from statsmodels.stats.contingency_tables import SquareTable
from statsmodels.stats.contingency_tables import mcnemar as oracle

from app.domain.agreement import cohens_kappa
from app.domain.marginals import mcnemar, paired_gap, stuart_maxwell

EXAMPLE = ([1.0] * 32 + [0.0] * 25, [1.0] * 20 + [0.0] * 12 + [1.0] * 3 + [0.0] * 22)
"""20 both, 12 only the one, 3 only the other, 22 neither."""

values = st.sampled_from([0.0, 0.5, 1.0])
pairs = st.lists(st.tuples(st.integers(0, 6), values, values), min_size=1, max_size=40)


def test_two_judges_agree_on_74_percent_and_still_disagree_in_one_direction() -> None:
    one, other = (np.array(said) for said in EXAMPLE)
    assert np.mean(one == other) == pytest.approx(0.74, abs=5e-3)
    found = paired_gap(np.arange(57), one, other)
    assert (found.one, found.other) == (pytest.approx(0.56, abs=5e-3), pytest.approx(0.40, abs=5e-3))
    assert mcnemar(12, 3) == pytest.approx(0.035, abs=5e-4)
    assert (found.n, found.prompts, found.differ, found.gap) == (57, 57, 15, pytest.approx(9 / 57))
    assert 0 < found.interval.low < found.gap < found.interval.high
    assert cohens_kappa([[20, 12], [3, 22]]) == pytest.approx(0.49, abs=5e-3)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_that_of_statsmodels(one: int, other: int) -> None:
    if one + other == 0:
        assert mcnemar(one, other) is None
    else:
        assert mcnemar(one, other) == pytest.approx(oracle([[5, one], [other, 7]], exact=True).pvalue)
        assert mcnemar(other, one) == pytest.approx(mcnemar(one, other))


@given(st.lists(st.integers(1, 40), min_size=9, max_size=9))
def test_stuart_maxwell_is_that_of_statsmodels(counts: list[int]) -> None:
    table = np.array(counts).reshape(3, 3)
    theirs = SquareTable(table, shift_zeros=False).homogeneity(method="stuart_maxwell")
    found = stuart_maxwell(table)
    assert (found.df, found.statistic, found.p) == (
        theirs.df,
        pytest.approx(theirs.statistic, abs=1e-8),
        pytest.approx(theirs.pvalue, abs=1e-8),
    )


def test_outcomes_that_nobody_disagrees_about_cost_no_degree_of_freedom() -> None:
    found = stuart_maxwell([[20, 12, 0], [3, 22, 0], [0, 0, 9]])
    assert (found.df, found.statistic) == (1, pytest.approx(81 / 15))
    assert stuart_maxwell([[5, 0, 0], [0, 3, 0], [0, 0, 0]]) is None


def test_the_gap_is_a_regression_on_a_constant_clustered_by_prompt() -> None:
    rng = np.random.default_rng(1)
    prompts = rng.integers(0, 25, 200)
    lean = rng.normal(0, 0.4, 25)[prompts]
    one, other = (rng.random(200) < 0.6).astype(float), (rng.random(200) < np.clip(0.5 + lean, 0, 1)).astype(float)
    found = paired_gap(prompts, one, other)
    fit = sm.OLS(one - other, np.ones(200)).fit(cov_type="cluster", cov_kwds={"groups": prompts})
    assert found.gap == pytest.approx(fit.params[0])
    assert found.error == pytest.approx(fit.bse[0])
    half = -stdtrit(found.prompts - 1, 0.025) * fit.bse[0]
    assert tuple(found.interval) == pytest.approx((found.gap - half, found.gap + half))


def test_prompts_that_agree_by_luck_are_no_surer_than_independent_pairs() -> None:
    found = paired_gap(np.repeat(np.arange(10), 2), [1.0, 0.0] * 10, [0.0, 1.0] * 10)
    assert found.error == pytest.approx(math.sqrt(20 / 19 / 20))


@pytest.mark.parametrize(
    ("prompts", "one", "other"),
    [
        (range(30), [1.0] * 30, [1.0] * 30),
        (range(30), [1.0] * 30, [0.0] * 4 + [1.0] * 26),
        ([1, 2, 3, 4] * 5, [1.0] * 20, [0.0] * 10 + [1.0] * 10),
    ],
)
def test_it_is_too_early_below_five_prompts_or_five_pairs_that_differ(
    prompts: list[int], one: list[float], other: list[float]
) -> None:
    assert paired_gap(prompts, one, other).interval is None


@given(pairs)
def test_whoever_is_the_one_the_gap_is_the_same(rows: list[tuple[int, float, float]]) -> None:
    prompts, one, other = zip(*rows, strict=True)
    found, turned = paired_gap(prompts, one, other), paired_gap(prompts, other, one)
    assert found.gap == pytest.approx(found.one - found.other)
    assert (turned.gap, turned.error) == (pytest.approx(-found.gap), pytest.approx(found.error))
    if found.interval is None:
        assert turned.interval is None
    else:
        assert -1 <= found.interval.low <= found.gap <= found.interval.high <= 1
        assert tuple(turned.interval) == pytest.approx((-found.interval.high, -found.interval.low))


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="not on the same pairs"):
        paired_gap([1, 2], [1.0, 0.0], [1.0])
    with pytest.raises(ValueError, match="2 prompts do not belong to 1 rows"):
        paired_gap([1, 2], [1.0], [1.0])
    with pytest.raises(ValueError, match="between 0 and 1"):
        paired_gap([1], [1.5], [1.0])
    assert paired_gap([], [], []) is None


def test_real_judges_on_the_same_pairs(shared_data: Path) -> None:
    """Which of two models a judge prefers, the mean over both orders, clustered over 80 questions."""
    said = {}
    for name in ("Qwen2.5-7B-Instruct", "gpt-4o-mini"):
        with gzip.open(shared_data / f"mtbench_judges/pairwise/{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            said[name] = {_pair(row): _value(row) for row in map(json.loads, file)}
    weak, strong = said.values()
    both = sorted(pair for pair in weak if weak[pair] is not None and strong.get(pair) is not None)
    found = paired_gap([pair[0] for pair in both], [weak[pair] for pair in both], [strong[pair] for pair in both])
    assert (found.n, found.prompts) == (len(both), 80)
    assert found.differ > 0.4 * found.n
    assert found.gap == pytest.approx(np.mean([weak[pair] for pair in both]) - np.mean([strong[pair] for pair in both]))
    assert found.interval.low < found.gap < found.interval.high
    assert found.interval.high - found.interval.low < 0.1


def _pair(row: dict) -> tuple[int, str, str]:
    return row["question_id"], row["model_a"], row["model_b"]


def _value(row: dict) -> float | None:
    """How far ``model_b`` is preferred; the winners are positions, the second time of the texts swapped."""
    shown = {"A": 0.0, "tie": 0.5, "B": 1.0}
    first, second = shown.get(row["winner_ab"]), shown.get(row["winner_ba"])
    return None if first is None or second is None else (first + 1 - second) / 2


@pytest.mark.slow
@pytest.mark.parametrize("agree", [0.66, 0.88])
@pytest.mark.parametrize(("prompts", "each"), [(10, 4), (57, 1), (57, 3)])
def test_the_interval_of_a_judges_bias_covers(prompts: int, each: int, agree: float) -> None:
    """The judge repeats what people say or, more often on some prompts than on others, prefers the challenger."""
    rng = np.random.default_rng([prompts, each, int(100 * agree)])
    covered, shown = 0, 0
    for _ in range(3000):
        people = rng.random((prompts, each)) < 0.5
        leans = rng.random((prompts, each)) < rng.beta(4 * (1 - agree), 4 * agree, (prompts, 1))
        judge = people | leans
        found = paired_gap(np.repeat(np.arange(prompts), each), judge.ravel(), people.ravel())
        if found.interval is not None:
            shown += 1
            covered += found.interval.low <= (1 - agree) / 2 <= found.interval.high
    assert shown > 100
    assert covered / shown >= 0.92
