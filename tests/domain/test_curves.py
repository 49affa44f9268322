"""A curve is cut into few places without losing its ends, and made smooth without a wrong beginning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.curves import MOST_PLACES, bucket_width, smoothed, smoothing_span

steps = st.integers(0, 10**7)
losses = st.lists(st.floats(-100, 100), min_size=1, max_size=50)


@given(steps, steps, st.integers(1, 1000))
def test_a_window_never_has_more_places_than_asked_for(one: int, other: int, most: int) -> None:
    first, last = sorted((one, other))
    width = bucket_width(first, last, most)
    assert (last - first) // width < most
    assert width == 1 or (last - first) // (width - 1) >= most  # no wider than it must be


def test_few_steps_have_a_place_each() -> None:
    assert bucket_width(0, MOST_PLACES - 1) == 1
    assert bucket_width(0, MOST_PLACES) == 2
    assert bucket_width(7, 7) == 1


def test_averages_of_a_worked_example() -> None:
    # Span 3: weight one half. 4; (4/4 + 2/2) / (3/4) = 8/3; (4/8 + 2/4 + 6/2) / (7/8) = 32/7.
    assert smoothed([4.0, 2.0, 6.0], 3) == pytest.approx([4.0, 8 / 3, 32 / 7])


@given(losses, st.integers(1, 40))
def test_averages_stay_between_the_values_so_far(values: list[float], span: int) -> None:
    for index, average in enumerate(smoothed(values, span)):
        seen = values[: index + 1]
        assert min(seen) - 1e-9 <= average <= max(seen) + 1e-9


@given(losses)
def test_a_span_of_one_changes_nothing(values: list[float]) -> None:
    assert smoothed(values, 1) == pytest.approx(values)


@given(st.floats(-100, 100), st.integers(1, 40), st.integers(1, 30))
def test_a_constant_stays_what_it_is(value: float, span: int, count: int) -> None:
    assert smoothed([value] * count, span) == pytest.approx([value] * count)


def test_longer_curves_are_smoothed_over_more_places() -> None:
    assert [smoothing_span(places) for places in (0, 14, 30, 300)] == [1, 1, 2, 20]
