"""Geometry of the curves of runs, and the addresses that lead to another part of them.

As in ``app/web/charts.py`` x is a percentage of the drawing's width and y is in pixels.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from urllib.parse import urlencode

from app.domain.curves import Place, smoothed, smoothing_span
from app.domain.terms import Axis
from app.queries.curves import Curves, Extent, View
from app.queries.run_comparison import ComparedRun
from app.web.charts import Tick, nice_ticks, path_of

_NEAR = 15.0
"""Pixels between two labels at the ends of lines."""
_BESIDE = 6.0
"""Percent between two ends of lines whose numbers could meet."""
_LONGEST = 12
"""Characters of a name at the end of a line; the key has the whole name."""
_TICKS, _SMALL_HEIGHT = 4, 120
"""Drawings that are lower than this have half as many ticks."""
_DECADE = 10.0
_SMALL = 1e-3
_UNITS = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
_STEPS_IN = 4
"""One press on "closer" shows half of what was shown: a quarter less on each side."""


@dataclass(frozen=True)
class Series:
    """What one line shows. ``kind`` is the class of its drawing; ``places`` are joined, or dotted as well."""

    kind: str
    label: str
    places: Sequence[Place]
    band: bool = False
    """Whether the lowest and highest value of each place are drawn behind the line."""
    dots: bool = False
    number: int | None = None
    """Of the run, which stands at the end of its line, and before what tells its name from the others."""
    short: str = ""


@dataclass(frozen=True)
class Line:
    """A drawn series. Paths fit a box of 100 by the height of the plot; ``dots`` are (percent, pixels)."""

    kind: str
    path: str
    band: str
    dots: tuple[tuple[float, float], ...]
    number: int | None
    short: str
    end: tuple[float, float]
    """(percent, pixels) of the last place; ``label_y`` is near it, where no other label is."""
    label_y: float


@dataclass(frozen=True)
class Plot:
    """A line chart over a window of steps or tokens: box height in pixels, x in percent, y in pixels."""

    height: int
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    first: int
    last: int


def curve_plot(series: Iterable[Series], window: Extent, *, log: bool = False, height: int = 220) -> Plot | None:
    """Lay out lines over ``window``; None where none of them has a place.

    The y axis fits what lies in the window. On a log scale places at 0 or below are left out.
    """
    kept = [(one, [place for place in one.places if not log or place.low > 0]) for one in series]
    kept = [(one, places) for one, places in kept if places]
    if not kept:
        return None
    low = min(place.low if one.band else place.mean for one, places in kept for place in places)
    high = max(place.high if one.band else place.mean for one, places in kept for place in places)
    wanted = _TICKS if height >= _SMALL_HEIGHT else _TICKS // 2
    ticks = _log_ticks(low, high) if log else nice_ticks(low, high, wanted=wanted)
    bottom, top = _scaled(ticks[0], log=log), _scaled(ticks[-1], log=log)
    across = max(window.last - window.first, 1)

    def x(at: float) -> float:
        return round((at - window.first) / across * 100, 2)

    def y(value: float) -> float:
        return round((top - _scaled(value, log=log)) / (top - bottom) * height, 2)

    lines = []
    for one, places in kept:
        placed = [(x(place.x), y(place.mean)) for place in places]
        ring = [(x(p.x), y(p.high)) for p in places] + [(x(p.x), y(p.low)) for p in reversed(places)]
        lines.append(
            Line(
                kind=one.kind,
                path=path_of(placed),
                band=f"{path_of(ring)} Z" if one.band and any(p.high > p.low for p in places) else "",
                dots=tuple(placed) if one.dots or len(placed) == 1 else (),
                number=one.number,
                short=one.short,
                end=placed[-1],
                label_y=placed[-1][1],
            )
        )
    steps = nice_ticks(window.first, window.last, wanted=wanted, whole=True)
    return Plot(
        height=height,
        lines=_labelled(lines, height),
        x_ticks=tuple(Tick(x(step), _short(step)) for step in steps if window.first <= step <= window.last),
        y_ticks=tuple(Tick(y(tick), _short(tick)) for tick in ticks),
        first=window.first,
        last=window.last,
    )


def _scaled(value: float, *, log: bool) -> float:
    return math.log10(value) if log else value


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers around ``low … high``: 1, 2 and 5 of each power of ten, and more where it is less than one."""
    if high / low < _DECADE:
        ticks = [tick for tick in nice_ticks(low, high) if tick > 0]
        return ticks if len(ticks) > 1 and ticks[0] <= low else [low, *ticks]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= _STEPS_IN else (1,)
    every = [step * 10.0**power for power in powers for step in steps]
    first = max((index for index, tick in enumerate(every) if tick <= low), default=0)
    last = min((index for index, tick in enumerate(every) if tick >= high), default=len(every) - 1)
    return every[first : last + 1]


def _labelled(lines: Sequence[Line], height: int) -> tuple[Line, ...]:
    """The numbers moved apart where lines end beside each other; the order of those ends stays."""
    at: dict[int, float] = {}
    beside: list[int] = []
    for index in sorted(range(len(lines)), key=lambda index: lines[index].end[0]):
        if beside and lines[index].end[0] - lines[beside[-1]].end[0] > _BESIDE:
            at |= _apart(lines, beside, height)
            beside = []
        beside.append(index)
    at |= _apart(lines, beside, height)
    return tuple(replace(line, label_y=round(at[index], 2)) for index, line in enumerate(lines))


def _apart(lines: Sequence[Line], indices: Sequence[int], height: int) -> dict[int, float]:
    order = sorted(indices, key=lambda index: lines[index].end[1])
    at: dict[int, float] = {}
    free = 0.0
    for index in order:
        at[index] = max(lines[index].end[1], free)
        free = at[index] + _NEAR
    free = float(height) + _NEAR / 2
    for index in reversed(order):
        at[index] = min(at[index], free)
        free = at[index] - _NEAR
    return at


def _short(value: float) -> str:
    """A number on an axis: ``2.5``, ``4e-4``, ``12k``, ``1.5M``."""
    for least, unit, letter in _UNITS:
        if abs(value) >= least:
            return f"{value / unit:.4g}{letter}"
    if 0 < abs(value) < _SMALL:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.6g}"


def smooth(places: Sequence[Place]) -> tuple[Place, ...]:
    """The line through moving averages of the means."""
    means = smoothed([place.mean for place in places], smoothing_span(len(places)))
    return tuple(Place(place.x, mean, mean, mean) for place, mean in zip(places, means, strict=True))


def run_series(curves: Curves) -> dict[str, list[Series]]:
    """The charts of one run: ``loss``, and the small ones below it."""
    (one,) = curves.by_run.values()
    return {
        "loss": [
            Series("train", "training", one.train, band=True),
            Series("train-smooth", "training, smoothed", smooth(one.train)),
            Series("validation", "validation", one.validation, dots=True),
        ],
        "rate": [Series("rate", "learning rate", one.learning_rate)],
        "speed": [Series("rate", "tokens per second, smoothed", smooth(one.tokens_per_second))],
        "memory": [Series("rate", "memory in GB", [_in_gigabytes(place) for place in one.memory_bytes])],
    }


def _in_gigabytes(place: Place) -> Place:
    return Place(place.x, place.mean / 1e9, place.low / 1e9, place.high / 1e9)


def compared_series(runs: Sequence[ComparedRun], curves: Curves) -> dict[str, list[Series]]:
    """The charts of several runs: ``train`` with the raw line behind the smooth one, and ``validation``."""
    shorts = told_apart([one.run.name for one in runs])
    raw, even, validation = [], [], []
    for one, short in zip(runs, shorts, strict=True):
        found, kind, name = curves.by_run[one.run.id], f"run-{one.number}", one.run.name
        raw.append(Series(f"raw {kind}", name, found.train))
        even.append(Series(kind, f"{name}, smoothed", smooth(found.train), number=one.number, short=short))
        validation.append(Series(kind, name, found.validation, dots=True, number=one.number, short=short))
    return {"train": [*raw, *even], "validation": validation}


def told_apart(names: Sequence[str]) -> list[str]:
    """What tells names apart, cut short: ``brie-v2-r8`` and ``brie-v2-r16`` are ``r8`` and ``r16``."""
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False)) if len(names) > 1 else ()
    common = "".join(letters[0] for letters in same)
    start = max(common.rfind(mark) for mark in "-._/") + 1
    rests = [name[start:] or name for name in names]
    return [rest if len(rest) <= _LONGEST else f"{rest[: _LONGEST - 1]}…" for rest in rests]


@dataclass(frozen=True)
class Ways:
    """Addresses of other parts of the same curves; empty where there is no such part."""

    closer: str
    wider: str
    earlier: str
    later: str
    whole: str
    linear: str
    log: str
    steps: str
    tokens: str
    here: str


def ways(curves: Curves, address: str, others: Sequence[tuple[str, str]] = ()) -> Ways:
    """Where the links around the curves lead; ``others`` are parameters that every address keeps."""
    view, extent, window = curves.view, curves.extent, curves.window
    across = window.last - window.first

    def to(changed: View) -> str:
        return address_of(address, changed, others)

    def part(first: int, last: int) -> str:
        first, last = max(first, extent.first), min(last, extent.last)
        if (first, last) == (window.first, window.last) or last <= first:
            return ""
        if (first, last) == (extent.first, extent.last):
            return to(replace(view, first=None, last=None))
        return to(replace(view, first=first, last=last))

    quarter, half = across // _STEPS_IN, max(across // 2, 1)
    left = min(half, window.first - extent.first)
    right = min(half, extent.last - window.last)
    return Ways(
        closer=part(window.first + quarter, window.last - quarter) if quarter else "",
        wider=part(window.first - half, window.last + half),
        earlier=part(window.first - left, window.last - left),
        later=part(window.first + right, window.last + right),
        whole="" if view.is_whole else to(replace(view, first=None, last=None)),
        linear=to(replace(view, log=False)) if view.log else "",
        log="" if view.log else to(replace(view, log=True)),
        steps="" if view.axis is Axis.STEPS else to(View(log=view.log)),
        tokens="" if view.axis is Axis.TOKENS else to(View(Axis.TOKENS, log=view.log)),
        here=to(view),
    )


def address_of(address: str, view: View, others: Sequence[tuple[str, str]] = ()) -> str:
    """The address with what the view changes from the usual one."""
    changes: Mapping[str, str | int | None] = {
        "by": view.axis.value if view.axis is not Axis.STEPS else None,
        "scale": "log" if view.log else None,
        "from": view.first,
        "to": view.last,
    }
    fields = [*others, *((name, str(value)) for name, value in changes.items() if value is not None)]
    return f"{address}?{urlencode(fields)}" if fields else address
