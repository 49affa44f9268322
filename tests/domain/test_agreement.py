"""Agreement of two voters against statsmodels and by hand."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa as oracle

from app.domain.agreement import OUTCOMES, agreement, among, cohens_kappa
from app.domain.intervals import live
from app.domain.tally import ClusterSums, Tally, summarise
from app.domain.terms import Outcome

F, T, S = OUTCOMES


@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        ([[20, 5], [10, 15]], 0.4),
        ([[45, 15], [25, 15]], 0.1304),
        ([[25, 35], [5, 35]], 0.2593),
        ([[88, 14, 18], [10, 40, 10], [2, 6, 12]], 0.4915),
        ([[40, 9], [6, 45]], 0.6995),
        ([[80, 10], [5, 5]], 0.3182),
        ([[118, 5], [2, 0]], -0.02339),
    ],
)
def test_kappa_of_published_tables(table: list[list[int]], kappa: float) -> None:
    assert cohens_kappa(table) == pytest.approx(kappa, abs=5e-5)


@given(st.lists(st.integers(0, 50), min_size=9, max_size=9))
def test_kappa_is_that_of_statsmodels(counts: list[int]) -> None:
    table = [counts[:3], counts[3:6], counts[6:]]
    found = cohens_kappa(table)
    if found is not None:
        assert found == pytest.approx(oracle(table, return_results=False), abs=1e-9)
    else:
        assert sum(any(row) for row in table) <= 1


def test_agreement_by_hand() -> None:
    said = [(F, F), (F, F), (S, S), (S, F), (T, T), (T, S), (S, S), (F, F), (S, S), (F, T), (S, S), (S, S)]
    found = agreement((number, *both) for number, both in enumerate(said))
    assert (found.n, found.raw) == (12, pytest.approx(9 / 12))
    assert found.table == ((3, 1, 0), (0, 1, 1), (1, 0, 5))
    assert found.kappa == pytest.approx(oracle(found.table, return_results=False))
    by_prompt = [[float(one is other)] for one, other in said]
    assert found.live == live(summarise(ClusterSums.from_observations(by_prompt)))


def test_nothing_in_common_and_one_outcome_alone() -> None:
    nothing = agreement([])
    assert (nothing.n, nothing.raw, nothing.kappa, nothing.live) == (0, None, None, None)
    same = agreement((n, S, S) for n in range(12))
    assert (same.raw, same.kappa, same.live.high) == (1.0, None, 1.0)
    assert agreement([(1, S, S), (2, F, S)]).live is None


def test_people_among_each_other_are_every_two_of_them() -> None:
    votes = {1: [S, S, F], 2: [F, T], 3: [S, S], 4: [T]}
    tallies = [(n, Tally(one.count(S), one.count(F), one.count(T))) for n, one in votes.items()]
    found = among(tallies)
    assert found.n == 3  # the fourth pair has one vote
    assert found.raw == pytest.approx((1 / 3 + 0 + 1) / 3)
    by_hand = dict.fromkeys(product(OUTCOMES, OUTCOMES), 0.0)
    for said in [votes[n] for n in (1, 2, 3)]:
        couples = [(one, other) for i, one in enumerate(said) for j, other in enumerate(said) if i != j]
        for couple in couples:
            by_hand[couple] += 1 / len(couples)
    assert found.table == tuple(tuple(pytest.approx(by_hand[a, b]) for b in OUTCOMES) for a in OUTCOMES)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(OUTCOMES), st.sampled_from(OUTCOMES)), max_size=40))
def test_who_is_the_one_and_who_the_other_does_not_matter(said: list[tuple[int, Outcome, Outcome]]) -> None:
    one, other = agreement(said), agreement([(prompt, b, a) for prompt, a, b in said])
    assert (one.n, one.raw, one.live) == (other.n, other.raw, other.live)
    assert one.kappa == (None if other.kappa is None else pytest.approx(other.kappa))
    assert one.table == tuple(zip(*other.table, strict=True))
