import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.combined import Combined, combine, multiplier
from app.domain.intervals import fixed, live
from app.domain.tally import ClusterSums, summarise

LABELLED = [(1.0, 1.0)] * 18 + [(1.0, 0.0)] + [(0.0, 1.0)] * 7 + [(0.0, 0.0)] * 14
UNLABELLED = [1.0] * 225 + [0.0] * 175


def reference(weight: float | None = 0.5) -> Combined:
    people = [y for y, _ in LABELLED] + [None] * len(UNLABELLED)
    judges = [f for _, f in LABELLED] + UNLABELLED
    found = combine(range(len(judges)), people, judges, weight)
    assert found is not None
    return found


def test_the_reference_where_the_labelled_are_among_all() -> None:
    found = reference()
    assert found.summary.p == pytest.approx(0.4466, abs=5e-5)
    assert tuple(fixed(found.summary)) == pytest.approx((0.3268, 0.5730), abs=5e-5)
    assert (found.judged, found.summary.n, found.summary.prompts, found.summary.df) == (440, 40, 40, 439)


@pytest.mark.parametrize(("weight", "low", "high"), [(0.5, 0.319406, 0.568094), (1.0, 0.273181, 0.551819)])
def test_point_and_variance_are_those_of_ppi_python_on_disjoint_parts(weight: float, low: float, high: float) -> None:
    """Its mean and its variance by hand: f over the unlabelled, the correction over the labelled."""
    y, f = (np.array(column) for column in zip(*LABELLED, strict=True))
    rest = np.array(UNLABELLED)
    rectified = y - weight * f
    mean = weight * rest.mean() + rectified.mean()
    error = np.sqrt(weight**2 * rest.var() / rest.size + rectified.var() / y.size)
    assert (mean - 1.959964 * error, mean + 1.959964 * error) == pytest.approx((low, high), abs=1e-5)


@pytest.mark.parametrize(("agreement", "counts_as"), [(0.66, 1.11), (0.75, 1.33), (0.85, 1.96), (0.90, 2.78)])
def test_as_how_many_each_human_vote_counts(agreement: float, counts_as: float) -> None:
    assert multiplier(2 * agreement - 1) == pytest.approx(counts_as, abs=5e-3)


def test_judges_who_say_always_the_same_change_nothing() -> None:
    people = [1.0, 0.0, 1.0, 1.0, None, None]
    found = combine(range(6), people, [1.0] * 6)
    assert (found.weight, found.summary.p, found.correlation, found.multiplier) == (0.0, 0.75, None, 1.0)


def test_judges_who_go_against_people_are_left_aside() -> None:
    people = [1.0, 0.0, 1.0, 0.0, None, None]
    found = combine(range(6), people, [0.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    assert (found.weight, found.summary.p, found.multiplier) == (0.0, 0.5, 1.0)
    assert found.correlation == pytest.approx(-1)


def test_below_two_votes_there_is_nothing_to_combine() -> None:
    assert combine([1, 2], [1.0, None], [1.0, 0.0]) is None
    assert combine([], [], []) is None


@pytest.mark.parametrize(
    ("prompts", "people", "judges"), [([1], [1.0, 0.0], [1.0, 0.0]), ([1, 2], [2.0, 0.0], [1, 0]), ([1], [1.0], [-1])]
)
def test_what_does_not_belong_together_is_refused(prompts: list[int], people: list[float], judges: list[float]) -> None:
    with pytest.raises(ValueError, match=r"belong together|between 0 and 1"):
        combine(prompts, people, judges)


VERDICT = st.sampled_from([0.0, 0.5, 1.0])
PAIR = st.tuples(st.integers(0, 9), st.none() | VERDICT, VERDICT)


@given(st.lists(PAIR, min_size=2, max_size=60), st.randoms(use_true_random=False))
def test_it_stays_a_rate_and_does_not_depend_on_the_order_of_pairs(pairs: list, rng: random.Random) -> None:
    found = combine(*zip(*pairs, strict=True))
    mixed = list(pairs)
    rng.shuffle(mixed)
    again = combine(*zip(*mixed, strict=True))
    assert (found is None) == (again is None) == (sum(y is not None for _, y, _ in pairs) < 2)
    if found is None:
        return
    assert again.summary.p == pytest.approx(found.summary.p)
    assert again.summary.n_eff == pytest.approx(found.summary.n_eff)
    assert 0 <= found.summary.p <= 1
    assert 0 <= found.weight <= 1
    if found.summary.df > 0:
        interval = live(found.summary)
        assert interval.low <= found.summary.p <= interval.high


@given(st.lists(st.tuples(st.integers(0, 9), VERDICT), min_size=5, max_size=40))
def test_without_trust_in_judges_it_is_the_win_rate_of_people(pairs: list) -> None:
    prompts, people = zip(*pairs, strict=True)
    found = combine(prompts, people, [0.5 + 0.5 * (place % 2) for place in range(len(pairs))], weight=0.0)
    by_prompt = [[y for other, y in pairs if other == prompt] for prompt in dict.fromkeys(prompts)]
    alone = summarise(ClusterSums.from_observations(by_prompt))
    assert found.summary.p == pytest.approx(alone.p)
    assert (found.summary.n, found.summary.prompts, found.summary.df) == (alone.n, alone.prompts, alone.df)


@pytest.mark.slow
def test_it_covers_the_truth_with_judges_who_are_biased_and_is_narrower_than_people_alone() -> None:
    """60 of 600 pairs with a vote; judges agree in 80% and prefer the challenger in .58 where people do in .55."""
    rng = np.random.default_rng(11)
    covered, judges_alone, ratio, runs = 0, 0, [], 400
    for _ in range(runs):
        truth = rng.random(600) < 0.55
        wrong = np.where(truth, rng.random(600) < 0.155, rng.random(600) < 0.255)
        f = np.where(wrong, ~truth, truth).astype(float)
        asked = rng.permutation(600)[:60]
        people: list[float | None] = [None] * 600
        for place in asked:
            people[place] = float(truth[place])
        found = combine(range(600), people, f)
        low, high = fixed(found.summary)
        covered += low <= 0.55 <= high
        alone = fixed(summarise(ClusterSums.from_observations([[people[place]] for place in asked])))
        ratio.append((high - low) / (alone.high - alone.low))
        machine = fixed(summarise(ClusterSums.from_observations([[value] for value in f])))
        judges_alone += machine.low <= 0.55 <= machine.high
    assert covered / runs >= 0.93
    assert judges_alone / runs < 0.85
    assert np.mean(ratio) < 0.9
