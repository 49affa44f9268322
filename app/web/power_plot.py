"""Geometry of the power curves: how probably each true win rate is told from one half. See ``app.web.charts``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.web.charts import Tick, path_of

WANTED = 0.8
"""The chance that a plan is measured by."""
_TICKS = (0.5, 0.6, 0.7, 0.8, 0.9)
_SHOWN = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
"""The win rates of the table below."""


class Point(Protocol):
    """How probably one win rate is told."""

    @property
    def win_rate(self) -> float:
        """From one half on."""

    @property
    def chance(self) -> float:
        """In [0, 1]."""


class Curve(Protocol):
    """A named row of such points, by win rate."""

    @property
    def label(self) -> str:
        """What it is about."""

    @property
    def curve(self) -> Sequence[Point]:
        """From one half to the largest possible win rate."""


@dataclass(frozen=True)
class Line:
    """A drawn curve. ``path`` fits a box of 100 by ``PowerPlot.height``."""

    name: str
    path: str


@dataclass(frozen=True)
class PowerPlot:
    """Lines fit a box of 100 by ``height``; ticks are percent for x and pixels for y."""

    height: int
    wanted: float
    """The line of the wanted chance, in pixels."""
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    rows: tuple[tuple[float, tuple[float, ...]], ...]
    """For the table: a win rate and its chance on each curve."""


def power_plot(curves: Sequence[Curve], *, height: int = 200) -> PowerPlot:
    """Lay out curves over true win rates from 50% to the largest, chances from 0% below to 100% above."""
    right = curves[0].curve[-1].win_rate

    def across(rate: float) -> float:
        return round((rate - _TICKS[0]) / (right - _TICKS[0]) * 100, 2)

    def down(chance: float) -> float:
        return round((1 - chance) * height, 2)

    lines = tuple(
        Line(one.label.split()[0], path_of([(across(point.win_rate), down(point.chance)) for point in one.curve]))
        for one in curves
    )
    by_rate = [{round(point.win_rate, 2): point.chance for point in one.curve} for one in curves]
    return PowerPlot(
        height=height,
        wanted=down(WANTED),
        lines=lines,
        x_ticks=tuple(Tick(across(rate), f"{rate:.0%}") for rate in _TICKS),
        y_ticks=tuple(Tick(down(share), f"{share:.0%}") for share in (1.0, 0.75, 0.5, 0.25, 0.0)),
        rows=tuple((rate, tuple(of_one[rate] for of_one in by_rate)) for rate in _SHOWN if rate in by_rate[0]),
    )
