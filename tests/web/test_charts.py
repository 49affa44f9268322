import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.charts import forest, loss_plot, nice_ticks, thin

shares = st.floats(0, 1)
values = st.floats(-1e6, 1e6)


@dataclass(frozen=True)
class Row:
    live: tuple[float, float] | None
    win_rate: float | None = None
    fixed: tuple[float, float] | None = None


@dataclass(frozen=True)
class Loss:
    step: int
    loss: float


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


def test_loss_curves_share_one_axis_and_lower_loss_is_lower_on_the_page() -> None:
    drawn = loss_plot([Loss(1, 4.0), Loss(10, 2.0)], [Loss(5, 3.0), Loss(10, 2.5)], last_step=10)
    assert drawn is not None
    assert drawn.lines[0].path == "M10 0 L100 200"
    assert drawn.lines[0].dots == ()
    assert drawn.lines[1].dots == ((50.0, 100.0), (100.0, 150.0))
    assert [t.label for t in drawn.y_ticks] == ["2", "2.5", "3", "3.5", "4"]


def test_a_run_without_finite_losses_has_no_curve() -> None:
    assert loss_plot([Loss(1, math.nan), Loss(2, math.inf)], [], last_step=10) is None
    assert loss_plot([], [], last_step=10) is None


def test_one_measured_value_is_drawn_inside_the_box() -> None:
    drawn = loss_plot([], [Loss(0, 2.5)], last_step=0)
    assert drawn is not None
    ((x, y),) = drawn.lines[1].dots
    assert 0 <= x <= 100
    assert 0 <= y <= drawn.height


def test_thinning_keeps_both_ends() -> None:
    points = [(i, 0.0) for i in range(10_000)]
    kept = thin(points, 600)
    assert (len(kept), kept[0], kept[-1]) == (600, points[0], points[-1])
