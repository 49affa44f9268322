from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.intervals import Interval
from app.domain.variance import Components
from app.web.scales import gap_scale, rate_scale, step_plot, strength_scale, variance_parts

gaps = st.floats(-1, 1)


@dataclass(frozen=True)
class Gap:
    gap: float
    live: Interval | None
    fixed: Interval | None = None


@dataclass(frozen=True)
class Strength:
    strength: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Row:
    win_rate: float | None
    live: tuple[float, float] | None
    fixed: tuple[float, float] | None = None


@dataclass(frozen=True)
class Checkpoint:
    step: int
    cell: Row


def test_win_rates_are_lines_from_nothing_to_all_cut_at_one_half() -> None:
    drawn = rate_scale([Row(0.6, (0.4, 0.75), (0.5, 0.7)), Row(0.6, None)])
    ranged, early = drawn.lines
    assert ranged.point == 60
    assert [(piece.side, piece.x, piece.width) for piece in ranged.live] == [("first", 40, 10), ("second", 50, 25)]
    assert [(piece.side, piece.x, piece.width) for piece in ranged.fixed] == [("second", 50, 20)]
    assert (early.live, early.fixed, early.point) == ((), (), None)
    assert [(tick.at, tick.label) for tick in drawn.ticks][::2] == [(0, "0%"), (50, "50%"), (100, "100%")]


def test_no_difference_lies_in_the_middle() -> None:
    drawn = gap_scale([Gap(0.5, Interval(-0.2, 1.0)), Gap(-1.0, None)])
    first, early = drawn.lines
    assert first.point == 75.0
    assert [(piece.side, piece.x, piece.width) for piece in first.live] == [("first", 40, 10), ("second", 50, 50)]
    assert (early.live, early.point) == ((), None)
    assert [(tick.at, tick.label) for tick in drawn.ticks] == [
        (0, "\N{MINUS SIGN}100"), (25, "\N{MINUS SIGN}50"), (50, "0"), (75, "+50"), (100, "+100"),
    ]  # fmt: skip


@given(gaps, gaps)
def test_a_difference_is_as_wide_as_its_interval(one: float, other: float) -> None:
    low, high = sorted((one, other))
    (line,) = gap_scale([Gap(low, Interval(low, high))]).lines
    assert sum(piece.width for piece in line.live) == pytest.approx((high - low) * 50, abs=0.01)


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0, 5)), min_size=1))
def test_the_axis_of_strengths_fits_the_widest(rows: list[tuple[float, float]]) -> None:
    drawn = strength_scale([Strength(at, Interval(at - half, at + half)) for at, half in rows])
    assert (drawn.ticks[0].at, drawn.ticks[-1].at) == (0, 100)
    for (_, half), line in zip(rows, drawn.lines, strict=True):
        most = float(drawn.ticks[-1].label)
        assert sum(piece.width for piece in line.fixed) == pytest.approx(100 * half / most, abs=0.01)


def test_what_is_not_known_is_not_drawn() -> None:
    assert strength_scale([Strength(None, None), Strength(0.3, None)]).lines[0].point is None
    assert strength_scale([]).lines == ()


def test_the_parts_of_a_variance_fill_the_bar() -> None:
    parts = variance_parts(Components(prompt=0.05, seed=None, voter=0.0, residual=0.15))
    assert [(part.label, part.x, part.width) for part in parts if part.width] == [
        ("prompts", 0, 25),
        ("the rest", 25, 75),
    ]
    assert [part.variance for part in parts] == [0.05, None, 0.0, 0.15]


def test_where_nothing_varies_the_bar_is_empty() -> None:
    assert [part.width for part in variance_parts(Components(0.0, None, None, 0.0))] == [0, 0, 0, 0]


def test_win_rates_over_steps_stand_upright_and_are_cut_at_even() -> None:
    rows = [Checkpoint(50, Row(0.6, (0.4, 0.8))), Checkpoint(100, Row(1.0, None))]
    drawn = step_plot(rows, height=200)
    first, early = drawn.marks
    assert (first.x, first.y, early.x, early.y) == (50, 80, 100, None)
    assert first.pieces == (("first", 100, 20), ("second", 40, 60))
    assert (early.pieces, drawn.line) == ((), "M50 80")
    assert [tick.label for tick in drawn.y_ticks] == ["100%", "75%", "50%", "25%", "0%"]
    assert step_plot([]).marks == ()
