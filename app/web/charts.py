"""Geometry of the charts: plain numbers in, positions out. The macros in ``templates/macros`` draw them.

Horizontal positions are percentages of the drawing's width and vertical ones are pixels, so that one drawing
fits a phone and a desk without scaling its text and without inline styles, which the page's policy forbids.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

ROW_HEIGHT = 58
"""Pixels of one forest row: a line of text and the interval below it."""

BAR_Y = 38
"""Pixels from the top of a forest row to the middle of its interval."""

EVEN = 0.5
"""The win rate at which nobody is preferred."""

_FLAT = 1e-9
"""Values closer together than this share of their size are drawn as equal."""


@dataclass(frozen=True)
class Tick:
    """A labelled position on an axis: percent for x, pixels for y."""

    at: float
    label: str


class Estimate(Protocol):
    """One line of a forest plot. Shares in [0, 1]; without ``live`` it is too early and nothing is drawn."""

    @property
    def win_rate(self) -> float | None:
        """The point estimate."""

    @property
    def live(self) -> tuple[float, float] | None:
        """The interval that may be read after every vote."""

    @property
    def fixed(self) -> tuple[float, float] | None:
        """The interval of a finished report."""


@dataclass(frozen=True)
class Segment:
    """A piece of an interval on one side of even. ``side`` is ``first`` (below) or ``second`` (above)."""

    x: float
    width: float
    side: str


@dataclass(frozen=True)
class ForestMark:
    """One drawn line: pixel heights of its parts, its segments and the tick of its estimate in percent."""

    row: Estimate
    text_y: int
    bar_y: int
    live: tuple[Segment, ...]
    fixed: tuple[Segment, ...]
    point: float | None


@dataclass(frozen=True)
class Forest:
    """A whole forest plot: ``height`` in pixels, the line of even at ``even`` percent, ticks in percent."""

    height: int
    axis_y: int
    even: float
    marks: tuple[ForestMark, ...]
    ticks: tuple[Tick, ...]


def forest(rows: Sequence[Estimate], *, final: bool = False) -> Forest:
    """Lay out win rates with their intervals on a common axis from 0% to 100%.

    Each interval is cut at 50%, so that the picture shows how much of it lies on either side. ``final``: a finished
    report, where the fixed interval stands alone.
    """
    marks = tuple(
        mark_of(row, index * ROW_HEIGHT + 18, index * ROW_HEIGHT + BAR_Y, final=final) for index, row in enumerate(rows)
    )
    ticks = tuple(Tick(at=at, label=f"{at}%") for at in (0, 25, 50, 75, 100))
    axis_y = len(rows) * ROW_HEIGHT
    return Forest(height=axis_y + 26, axis_y=axis_y, even=50.0, marks=marks, ticks=ticks)


def mark_of(row: Estimate, text_y: int, bar_y: int, *, final: bool = False) -> ForestMark:
    """One line of a forest plot at these heights."""
    return ForestMark(
        row=row,
        text_y=text_y,
        bar_y=bar_y,
        live=() if final else _cut(row.live),
        fixed=_cut(row.fixed),
        point=_point(row, row.fixed if final else row.live),
    )


def _point(row: Estimate, interval: tuple[float, float] | None) -> float | None:
    return None if row.win_rate is None or interval is None else _percent(row.win_rate)


def _percent(share: float) -> float:
    return round(min(1.0, max(0.0, share)) * 100, 3)


def _cut(interval: tuple[float, float] | None) -> tuple[Segment, ...]:
    if interval is None:
        return ()
    low, high = interval
    pieces = ((low, min(high, EVEN), "first"), (max(low, EVEN), high, "second"))
    return tuple(
        Segment(x=_percent(start), width=round(_percent(end) - _percent(start), 3), side=side)
        for start, end, side in pieces
        if end > start
    )


class Moment(Protocol):
    """A win rate after so many votes, with the live interval there was then."""

    @property
    def votes(self) -> int:
        """Votes so far."""

    @property
    def win_rate(self) -> float:
        """The point estimate, in [0, 1]."""

    @property
    def live(self) -> tuple[float, float] | None:
        """The time-uniform interval; ``None`` while it was too early."""


@dataclass(frozen=True)
class Band:
    """A win rate over votes: paths fit a box of 100 by ``height``, ticks are percent for x and pixels for y."""

    height: int
    even: float
    band: str
    """The closed outline of the intervals; empty while it is too early."""
    line: str
    end: tuple[float, float]
    """Where the line ends: (percent, pixels)."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def band_plot(points: Sequence[Moment], *, height: int = 220) -> Band | None:
    """Lay out a win rate over the votes so far, from 0% below to 100% above; None before the first vote."""
    if not points:
        return None
    right = points[-1].votes

    def place(votes: int, share: float) -> tuple[float, float]:
        return round(votes / right * 100, 2), round((1 - share) * height, 2)

    shown = [(point.votes, point.live) for point in points if point.live is not None]
    upper = [place(votes, high) for votes, (_, high) in shown]
    lower = [place(votes, low) for votes, (low, _) in reversed(shown)]
    line = [place(point.votes, point.win_rate) for point in points]
    counts = [count for count in nice_ticks(0, right, whole=True) if count <= right]
    return Band(
        height=height,
        even=height * EVEN,
        band=f"{path_of([*upper, *lower])} Z" if shown else "",
        line=path_of(line),
        end=line[-1],
        x_ticks=tuple(Tick(round(count / right * 100, 2), f"{count:,.0f}") for count in counts),
        y_ticks=tuple(Tick(round((1 - share) * height, 2), f"{share:.0%}") for share in (1.0, 0.75, 0.5, 0.25, 0.0)),
    )


def path_of(places: Sequence[tuple[float, float]]) -> str:
    """A line through these (x, y)."""
    return " ".join(f"{'L' if index else 'M'}{x:g} {y:g}" for index, (x, y) in enumerate(places))


def nice_ticks(low: float, high: float, *, wanted: int = 4, whole: bool = False) -> list[float]:
    """Round numbers that enclose ``low … high``, about ``wanted`` + 1 of them; whole numbers on request."""
    if high - low <= _FLAT * max(abs(low), abs(high), 1.0):
        high = low + (abs(low) if abs(low) > _FLAT else 1.0)
    raw = (high - low) / wanted
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * 0.999999)
    if whole:
        step = max(1.0, math.ceil(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]
