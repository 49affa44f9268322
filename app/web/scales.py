"""Estimates around zero on the axis of a forest plot: differences of win rates in points, strengths in log odds.

Each is drawn on an axis of its own, whose middle is zero and whose ends are -1 and 1, or the strongest one there is.
Beside them the parts of a whole as one bar, and win rates over the steps of a run.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.domain.intervals import Interval
from app.domain.variance import Components
from app.web.charts import Estimate, ForestMark, Tick, mark_of, nice_ticks, path_of

LINE_HEIGHT = 24
"""Pixels of one line; what it is about stands above it as text of the page, which may be long."""

_POINTS = (-100, -50, 0, 50, 100)


class Gap(Protocol):
    """A difference of two shares, in [-1, 1]."""

    @property
    def gap(self) -> float:
        """The point estimate."""

    @property
    def live(self) -> Interval | None:
        """The interval that may be read after every vote; ``None`` while it is too early."""

    @property
    def fixed(self) -> Interval | None:
        """The interval of a finished report."""


class Strength(Protocol):
    """Log odds against the mean; ``None`` where nothing is known."""

    @property
    def strength(self) -> float | None:
        """The point estimate."""

    @property
    def interval(self) -> Interval | None:
        """The interval that is right when it is read once."""


@dataclass(frozen=True)
class Scale:
    """Lines one below the other, one for each estimate, on a common axis with its ticks in percent."""

    lines: tuple[ForestMark, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class _Placed:
    """An estimate as a share of the axis."""

    win_rate: float | None
    live: Interval | None
    fixed: Interval | None


def gap_scale(gaps: Iterable[Gap]) -> Scale:
    """Lay out differences from -100 to 100 points."""
    placed = [_Placed((one.gap + 1) / 2, _halved(one.live, 1), _halved(one.fixed, 1)) for one in gaps]
    ticks = tuple(Tick((points + 100) / 2, _signed(points)) for points in _POINTS)
    return Scale(_lines(placed), ticks)


def rate_scale(rates: Iterable[Estimate]) -> Scale:
    """Lay out win rates from 0% to 100%, one line each."""
    return Scale(
        tuple(mark_of(one, 0, LINE_HEIGHT // 2) for one in rates),
        tuple(Tick(at, f"{at}%") for at in (0, 25, 50, 75, 100)),
    )


def strength_scale(rows: Sequence[Strength]) -> Scale:
    """Lay out strengths on an axis that the widest interval fits."""
    ends = [abs(end) for row in rows for end in (row.interval or (row.strength or 0.0,))]
    ticks = nice_ticks(0, max([*ends, 1.0]), wanted=2)
    most = ticks[-1]
    placed = [
        _Placed(None if row.strength is None else 0.5 + row.strength / (2 * most), None, _halved(row.interval, most))
        for row in rows
    ]
    labelled = [*(-tick for tick in reversed(ticks[1:])), *ticks]
    return Scale(
        _lines(placed, final=True), tuple(Tick(round(50 + 50 * tick / most, 3), _signed(tick)) for tick in labelled)
    )


def _lines(placed: Sequence[_Placed], *, final: bool = False) -> tuple[ForestMark, ...]:
    return tuple(mark_of(row, 0, LINE_HEIGHT // 2, final=final) for row in placed)


def _halved(interval: Interval | None, most: float) -> Interval | None:
    return None if interval is None else Interval(*(0.5 + end / (2 * most) for end in interval))


def _signed(value: float) -> str:
    return "0" if value == 0 else f"{value:+g}".replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True)
class Part:
    """A piece of a stacked bar, in percent of it; without a ``variance`` it is not told apart from the rest."""

    label: str
    variance: float | None
    share: float
    x: float
    width: float


def variance_parts(found: Components) -> tuple[Part, ...]:
    """Lay out the variance of one vote as one bar of 100 percent; without any, nothing has a width."""
    parts, x = [], 0.0
    for label, variance in (
        ("prompts", found.prompt),
        ("seeds", found.seed),
        ("raters", found.voter),
        ("the rest", found.residual),
    ):
        share = (variance or 0.0) / found.total if found.total > 0 else 0.0
        parts.append(Part(label, variance, share, round(100 * x, 3), round(100 * share, 3)))
        x += share
    return tuple(parts)


class AtStep(Protocol):
    """A win rate after so many steps of training."""

    @property
    def step(self) -> int:
        """Optimizer steps done."""

    @property
    def cell(self) -> Estimate:
        """The win rate of that checkpoint."""


@dataclass(frozen=True)
class StepMark:
    """One upright interval: percent for ``x``, pixels for the rest."""

    x: float
    pieces: tuple[tuple[str, float, float], ...]
    """(side, top, height) of the live interval."""
    y: float | None
    """The win rate; ``None`` while it is too early."""


@dataclass(frozen=True)
class Steps:
    """Win rates over the steps of a run; the line fits a box of 100 by ``height``."""

    height: int
    marks: tuple[StepMark, ...]
    line: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def step_plot(rows: Sequence[AtStep], *, height: int = 220) -> Steps:
    """Lay out win rates over steps from 0 to the last, from 0% below to 100% above."""
    right = max([row.step for row in rows], default=0) or 1
    pixels = height / 100  # to a percent of the win rate
    marks = []
    for row in rows:
        drawn = mark_of(row.cell, 0, 0)
        marks.append(
            StepMark(
                x=round(row.step / right * 100, 2),
                pieces=tuple(
                    (
                        piece.side,
                        round((100 - piece.x - piece.width) * height / 100, 2),
                        round(piece.width * height / 100, 2),
                    )
                    for piece in drawn.live
                ),
                y=None if drawn.point is None else round((100 - drawn.point) * pixels, 2),
            )
        )
    counts = [count for count in nice_ticks(0, right, whole=True) if count <= right]
    return Steps(
        height=height,
        marks=tuple(marks),
        line=path_of([(mark.x, mark.y) for mark in marks if mark.y is not None]),
        x_ticks=tuple(Tick(round(count / right * 100, 2), f"{count:,.0f}") for count in counts),
        y_ticks=tuple(Tick(round((1 - share) * height, 2), f"{share:.0%}") for share in (1.0, 0.75, 0.5, 0.25, 0.0)),
    )
