"""Position bias: published judges, and judges of which everything is known."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.position import Places, Swaps, outcome_of
from app.domain.published import mt_bench_choice
from app.domain.terms import Choice, Outcome

A, B, TIE = Choice.A, Choice.B, Choice.TIE
choices = st.lists(st.tuples(st.sampled_from([A, B, TIE, Choice.BOTH_BAD]), st.sampled_from([A, B, TIE])), max_size=30)


@pytest.mark.parametrize(
    ("judge", "inconsistent", "valid", "first_rate"),
    [
        ("Qwen2.5-7B-Instruct", 951, 1200, 0.8806),
        ("EXAONE-3.5-32B-Instruct-AWQ", 506, 1200, 0.6802),
        ("gpt-4o-mini", 399, 1193, 0.6053),
    ],
)
def test_judges_of_mt_bench_are_measured_as_published(
    shared_data: Path, judge: str, inconsistent: int, valid: int, first_rate: float
) -> None:
    path = shared_data / f"mtbench_judges/pairwise/{judge}.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    said = [(mt_bench_choice(row["judgment_ab"]), mt_bench_choice(row["judgment_ba"])) for row in rows]
    both = [(one, other) for one, other in said if one is not None and other is not None]
    swaps = Swaps.count(both)
    assert (swaps.inconsistent, swaps.n) == (inconsistent, valid)
    assert swaps.consistency == pytest.approx(1 - inconsistent / valid)
    assert Places.count(choice for pair in both for choice in pair).first_rate == pytest.approx(first_rate, abs=5e-5)
    assert swaps.first > swaps.second
    assert swaps.p < 1e-9


def test_counts_by_hand() -> None:
    swaps = Swaps.count([(A, B), (B, A), (TIE, TIE), (A, A), (A, A), (A, A), (B, B), (A, TIE), (TIE, B)])
    assert swaps == Swaps(same=3, first=3, second=1, mixed=2)
    assert (swaps.n, swaps.inconsistent) == (9, 6)
    assert swaps.consistency == pytest.approx(1 / 3)
    assert swaps.net == pytest.approx(2 / 9)
    assert swaps.p == pytest.approx(0.625)  # 3 of 4: 2 * (1 + 4) / 16
    places = Places.count([A, A, A, B, TIE])
    assert (places.first_rate, places.decisive, places.ties) == (0.75, 4, 1)
    assert places.p == pytest.approx(0.625)
    assert Places.count([A] * 10).p == pytest.approx(2 / 1024)


def test_always_the_first_is_a_bias_of_one_and_always_the_text_of_none() -> None:
    assert (Swaps.count([(A, A)] * 6).net, Swaps.count([(A, A)] * 6).consistency) == (1.0, 0.0)
    assert Swaps.count([(B, B)] * 6).net == -1.0
    fair = Swaps.count([(A, B), (B, A)] * 3)
    assert (fair.net, fair.consistency, fair.p) == (0.0, 1.0, None)
    nothing = Swaps.count([])
    assert (nothing.net, nothing.consistency, nothing.p, nothing.consistency_interval) == (None, None, None, None)
    assert (Places().first_rate, Places().p, Places().interval) == (None, None, None)


@given(choices)
def test_every_pair_is_counted_once_and_the_order_of_the_two_does_not_matter(said: list[tuple[Choice, Choice]]) -> None:
    swaps = Swaps.count(said)
    assert swaps.n == len(said)
    assert Swaps.count([(other, one) for one, other in said]) == swaps
    mirror = {A: B, B: A}
    other = Swaps.count([(mirror.get(one, one), mirror.get(two, two)) for one, two in said])
    assert (other.first, other.second, other.same) == (swaps.second, swaps.first, swaps.same)
    assert other.p == swaps.p
    assert Swaps.count(said[:3]) + Swaps.count(said[3:]) == swaps


@pytest.mark.parametrize(
    ("y", "outcome"),
    [(0.0, Outcome.FIRST), (0.25, Outcome.FIRST), (0.5, Outcome.TIE), (0.75, Outcome.SECOND), (1.0, Outcome.SECOND)],
)
def test_half_won_is_won(y: float, outcome: Outcome) -> None:
    assert outcome_of(y) is outcome
