"""The paired difference of two losses, against hand computation, resampling and its own rules."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.perplexity import MIN_ROWS, PairedLoss, compared, exp, paired_loss

TOKENS = [10, 20, 5, 40, 8, 12, 30, 6, 16, 25, 9, 11]
BASE = [21.0, 39.5, 11.2, 80.3, 15.1, 26.0, 61.0, 12.5, 30.9, 52.0, 19.0, 20.5]
OTHER = [19.0, 36.1, 10.9, 71.2, 14.7, 22.4, 57.3, 11.6, 28.8, 47.5, 17.2, 19.9]


def test_a_worked_example() -> None:
    found = paired_loss(TOKENS, BASE, OTHER)
    assert found is not None
    difference = (sum(OTHER) - sum(BASE)) / sum(TOKENS)
    residuals = [o - b - difference * t for o, b, t in zip(OTHER, BASE, TOKENS, strict=True)]
    error = math.sqrt(12 / 11 * sum(one**2 for one in residuals)) / sum(TOKENS)
    assert found.difference == pytest.approx(difference)
    assert found.high - found.difference == pytest.approx(2.200985 * error, rel=1e-6)  # t of 11 degrees of freedom
    assert found.low == pytest.approx(2 * difference - found.high)
    assert found.rows == 12
    assert found.ratio == pytest.approx((math.exp(difference), math.exp(found.low), math.exp(found.high)))


def test_the_interval_is_about_that_of_rows_drawn_again() -> None:
    rng = np.random.default_rng(5)
    tokens = rng.integers(5, 60, size=80)
    base = tokens * rng.normal(2.0, 0.4, size=80)
    other = base - tokens * rng.normal(0.1, 0.2, size=80)
    found = paired_loss(tokens.tolist(), base.tolist(), other.tolist())
    assert found is not None
    drawn = rng.integers(0, 80, size=(8000, 80))
    again = (other - base)[drawn].sum(axis=1) / tokens[drawn].sum(axis=1)
    low, high = np.quantile(again, [0.025, 0.975])
    width = found.high - found.low
    assert [found.low, found.high] == pytest.approx([low, high], abs=0.1 * width)


@pytest.mark.slow
def test_it_covers_as_often_as_it_says() -> None:
    rng, hit = np.random.default_rng(7), 0
    for _ in range(2000):
        tokens = rng.integers(5, 60, size=40)
        change = tokens * rng.normal(-0.1, 0.3, size=40)
        found = paired_loss(tokens.tolist(), [0.0] * 40, change.tolist())
        assert found is not None
        hit += found.low <= -0.1 <= found.high
    assert 0.93 <= hit / 2000 <= 0.97


losses = st.lists(st.floats(0, 500), min_size=MIN_ROWS, max_size=40)


@given(losses, st.data())
def test_exchanging_the_two_turns_the_interval_around(base: list[float], data: st.DataObject) -> None:
    size = len(base)
    other = data.draw(st.lists(st.floats(0, 500), min_size=size, max_size=size))
    tokens = data.draw(st.lists(st.integers(1, 300), min_size=size, max_size=size))
    one, two = paired_loss(tokens, base, other), paired_loss(tokens, other, base)
    assert one is not None
    assert two is not None
    assert (one.difference, one.low, one.high) == pytest.approx((-two.difference, -two.high, -two.low), abs=1e-9)
    assert one.low <= one.difference <= one.high


def test_the_same_losses_differ_by_nothing() -> None:
    assert paired_loss(TOKENS, BASE, BASE) == PairedLoss(0.0, 0.0, 0.0, 12)


def test_few_rows_have_no_interval_and_lists_must_belong_together() -> None:
    assert paired_loss(TOKENS[:9], BASE[:9], OTHER[:9]) is None
    with pytest.raises(ValueError, match="12 rows do not belong to 11 losses"):
        paired_loss(TOKENS, BASE[:11], OTHER[:11])


@pytest.mark.parametrize(
    ("paired", "words"),
    [
        (
            PairedLoss(-0.4, -0.5, -0.3, 57),
            "Lower than its base: its perplexity is 12.0, 0.67 times the 18.0 of its base",
        ),
        (PairedLoss(0.4, 0.3, 0.5, 57), "Higher than its base"),
        (PairedLoss(0.01, -0.1, 0.12, 57), "Not told apart from its base"),
        (None, "Too few rows in common say how sure"),
    ],
)
def test_who_is_lower_is_said_in_words(paired: PairedLoss | None, words: str) -> None:
    said = compared(12.0, 18.0, paired)
    assert words in said
    assert paired is None or "95% interval" in said


def test_what_overflows_is_infinite() -> None:
    assert exp(1e6) == math.inf
    assert "more than can be counted" in compared(math.inf, 2.0, None)
