from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.charts import forest, nice_ticks

shares = st.floats(0, 1)
values = st.floats(-1e6, 1e6)


@dataclass(frozen=True)
class Row:
    live: tuple[float, float] | None
    win_rate: float | None = None
    fixed: tuple[float, float] | None = None


def test_in_a_finished_report_the_fixed_interval_stands_alone() -> None:
    (mark,) = forest([Row((0.37, 0.98), 10 / 13, (0.48, 0.92))], final=True).marks
    assert mark.live == ()
    assert [(s.side, s.x, s.width) for s in mark.fixed] == [("first", 48.0, 2.0), ("second", 50.0, 42.0)]
    assert mark.point == 76.923
    (early,) = forest([Row((0.37, 0.98), 10 / 13)], final=True).marks
    assert (early.fixed, early.point) == ((), None)


def test_an_interval_across_even_is_cut_into_both_sides() -> None:
    (mark,) = forest([Row((0.37, 0.98), 10 / 13)]).marks
    assert [(s.side, s.x, s.width) for s in mark.live] == [("first", 37.0, 13.0), ("second", 50.0, 48.0)]
    assert mark.point == pytest.approx(76.923)


def test_without_an_estimate_the_row_has_text_and_no_bar() -> None:
    (mark,) = forest([Row(None, win_rate=1.0)]).marks
    assert (mark.live, mark.fixed, mark.point) == ((), (), None)


@given(shares, shares)
def test_the_pieces_of_an_interval_cover_exactly_the_interval(one: float, other: float) -> None:
    low, high = sorted((one, other))
    (mark,) = forest([Row((low, high))]).marks
    assert sum(s.width for s in mark.live) == pytest.approx((high - low) * 100, abs=0.01)
    for s in mark.live:
        assert (s.x + s.width <= 50.001) if s.side == "first" else (s.x >= 50)


def test_rows_stand_below_each_other_above_the_axis() -> None:
    drawn = forest([Row((0.2, 0.4))] * 3)
    assert sorted({m.bar_y for m in drawn.marks}) == [m.bar_y for m in drawn.marks]
    assert drawn.marks[-1].bar_y < drawn.axis_y < drawn.height


@given(values, values)
def test_ticks_enclose_the_values_in_equal_steps(one: float, other: float) -> None:
    low, high = sorted((one, other))
    ticks = nice_ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 8
    steps = [b - a for a, b in pairwise(ticks)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)


def test_steps_of_a_run_are_whole_numbers() -> None:
    assert nice_ticks(0, 10, whole=True) == [0, 3, 6, 9, 12]
    assert nice_ticks(0, 3, whole=True) == [0, 1, 2, 3]
