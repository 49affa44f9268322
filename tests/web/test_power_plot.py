from dataclasses import dataclass

import pytest

from app.web.power_plot import power_plot


@dataclass(frozen=True)
class Point:
    win_rate: float
    chance: float


@dataclass(frozen=True)
class Curve:
    label: str
    curve: tuple[Point, ...]


def a_curve(label: str, most: float = 1.0) -> Curve:
    return Curve(label, tuple(Point(round(0.5 + step / 100, 2), most * step / 45) for step in range(46)))


def test_curves_go_from_one_half_to_the_largest_rate() -> None:
    drawn = power_plot([a_curve("all prompts"), a_curve("in-domain", 0.5)], height=100)
    assert [line.name for line in drawn.lines] == ["all", "in-domain"]
    assert drawn.lines[0].path.startswith("M0 100 ")
    assert drawn.lines[0].path.endswith(" L100 0")
    assert drawn.lines[1].path.endswith(" L100 50")
    assert drawn.wanted == pytest.approx(20)
    assert (drawn.y_ticks[0].at, drawn.y_ticks[0].label) == (0, "100%")
    assert [tick.label for tick in drawn.x_ticks] == ["50%", "60%", "70%", "80%", "90%"]


def test_the_table_has_the_same_numbers() -> None:
    drawn = power_plot([a_curve("all prompts"), a_curve("in-domain", 0.5)])
    by_rate = dict(drawn.rows)
    assert by_rate[0.6] == pytest.approx((10 / 45, 5 / 45))
    assert list(by_rate) == [0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]
