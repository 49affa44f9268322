"""How numbers, times and sizes are written on a page, and the dictionary of all filters that templates use."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from app.domain import words
from app.domain.quality import in_halves
from app.providers.prices import MICRO, in_words
from app.web import charts, curves, layer_map, markdown, power_plot, scales

MINUTE, HOUR, DAY = 60, 3600, 86400
UNKNOWN = "\N{EN DASH}"
"""Stands for every figure that is not known."""

_UNITS = ("bytes", "KB", "MB", "GB", "TB")
_STEP = 1000
_SMALL = 10
_TINY, _LARGE = 1e-2, 1e4
"""Figures below or above are not written with the digits of a loss."""
_LARGEST_LOSS = 20.0
"""A broken run's loss: beyond it the perplexity is a row of digits that says nothing."""


def duration(seconds: float | None) -> str:
    """A length of time for people: ``42 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 days 4 h``."""
    if seconds is None:
        return UNKNOWN
    whole = max(0, round(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"
    return f"{count(whole // DAY)} {plural(whole // DAY, 'day')} {whole % DAY // HOUR} h"


def roughly(seconds: float) -> str:
    """A time that is only estimated: ``under a minute``, ``about 6 min``, ``about 2 h 20 min``, ``about 3 days``."""
    minutes = round(seconds / MINUTE)
    if seconds < MINUTE:
        return "under a minute"
    if seconds < HOUR:
        return f"about {minutes} min"
    if seconds < DAY:
        return f"about {minutes // 60} h {minutes % 60 // 10 * 10:02d} min"
    days = round(seconds / DAY)
    return f"about {days} {plural(days, 'day')}"


def ago(when: datetime, now: datetime) -> str:
    """How long before ``now`` (both aware) something was: ``just now``, ``5 min ago``, ``12 March 2026``."""
    seconds = (now - when).total_seconds()
    if seconds < MINUTE:
        return "just now"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min ago"
    if seconds < DAY:
        return f"{int(seconds // HOUR)} h ago"
    if seconds < 7 * DAY:
        days = int(seconds // DAY)
        return f"{days} {plural(days, 'day')} ago"
    return f"{when.day} {when:%B %Y}"


def moment(when: datetime) -> str:
    """A point in time written out in UTC: ``31 January 2026, 14:05 UTC``."""
    local = when.astimezone(UTC)
    return f"{local.day} {local:%B %Y, %H:%M} UTC"


def clock(when: datetime) -> str:
    """The time of a day in UTC, to the second: ``14:05:09``."""
    return f"{when.astimezone(UTC):%H:%M:%S}"


def size(number: int | None) -> str:
    """A size in decimal units, as disks and model pages count: ``269 MB``."""
    if number is None:
        return UNKNOWN
    value, unit = float(number), 0
    while value >= _STEP - 0.5 and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    if unit == 0:
        return f"{number} {plural(number, 'byte')}"
    return f"{value:.1f} {_UNITS[unit]}" if value < _SMALL else f"{value:.0f} {_UNITS[unit]}"


def percent(share: float | None) -> str:
    """A share in [0, 1] as sentences about results write it, such as ``77%`` or ``over 99%``."""
    return UNKNOWN if share is None else words.percent(share)


def span(low: float, high: float) -> str:
    """An interval of shares in words: ``37% to 98%``."""
    return f"{percent(low)} to {percent(high)}"


def points(gap: float) -> str:
    """A difference of shares with its sign, in points: ``+14``, ``+3.2``, ``0``."""
    rounded = round(100 * gap, 1)
    return "0" if rounded == 0 else f"{rounded:+g}".replace("-", "\N{MINUS SIGN}")


def signed_span(low: float, high: float) -> str:
    """An interval of differences in points: ``+12 to +38``."""
    return f"{points(low)} to {points(high)}"


def odds(strength: float) -> str:
    """Log odds with their sign: ``+1.13``, ``0.00``."""
    return decimal(strength) if round(strength, 2) <= 0 else f"+{strength:.2f}"


def decimal(value: float | None) -> str:
    """A coefficient with two decimals, below 0 with a true minus sign: ``0.42``."""
    return UNKNOWN if value is None else f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


def count(number: float | None) -> str:
    """A whole number with thin groups, ``1 234``: no comma that another language reads as a decimal point."""
    if number is None:
        return UNKNOWN
    return f"{round(number):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def plural(number: float, one: str, many: str = "") -> str:
    """The noun that fits ``number``: ``one`` for exactly 1, else ``many`` or ``one`` + s."""
    return one if number == 1 else many or f"{one}s"


def some(names: Sequence[str], most: int = 3) -> str:
    """Names in a row; of many the first and how many more there are: ``epoch-1, epoch-2 and 17 more``."""
    if len(names) <= most:
        return ", ".join(names)
    shown = names[: most - 1]
    return f"{', '.join(shown)} and {count(len(names) - len(shown))} more"


def number(value: float | None, digits: int = 3) -> str:
    """A measured figure such as a loss, with a fixed number of decimals so that columns line up."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def figure(value: float, digits: int = 3) -> str:
    """A measured figure of any size: ``2.413``, ``5 412``, ``2.0e-04``."""
    if value == 0 or _TINY <= abs(value) < _LARGE:
        return number(value, digits)
    return count(value) if abs(value) >= _LARGE else f"{value:.1e}"


def perplexity(loss: float | None) -> str:
    """A loss in nats per token as perplexity, exp(loss): among how many tokens the model hesitates on average."""
    return UNKNOWN if loss is None else f"{math.exp(min(loss, _LARGEST_LOSS)):.1f}"


def money(micro_dollars: int | None) -> str:
    """Millionths of a dollar as dollars: ``$12.50``, ``$0.0042``."""
    return UNKNOWN if micro_dollars is None else in_words(micro_dollars)


def cents(micro_dollars: int) -> str:
    """Millionths of a dollar for a field: dollars, rounded up to a whole cent."""
    whole = -(-micro_dollars // (MICRO // 100))
    return f"{whole // 100}.{whole % 100:02d}"


def day(when: datetime) -> str:
    """A day in UTC: ``31 January 2026``."""
    local = when.astimezone(UTC)
    return f"{local.day} {local:%B %Y}"


def model_name(id_: str) -> str:
    """The id of a Claude model as people say it: ``claude-opus-5-5`` is ``Claude Opus 5.5``."""
    words_ = [part.capitalize() for part in id_.split("-") if not part.isdigit()]
    return " ".join([*words_, ".".join(part for part in id_.split("-") if part.isdigit())])


def plain_words(term: str) -> str:
    """A stored term as people read it: ``in_domain`` becomes ``in domain``."""
    return str(term).replace("_", " ")


FILTERS: dict[str, Callable[..., object]] = {
    "ago": ago,
    "bytes": size,
    "cents": cents,
    "count": count,
    "curve_plot": curves.curve_plot,
    "day": day,
    "decimal": decimal,
    "duration": duration,
    "band_plot": charts.band_plot,
    "figure": figure,
    "forest": charts.forest,
    "gap_scale": scales.gap_scale,
    "halves": in_halves,
    "layer_map": layer_map.layer_map,
    "markdown": markdown.render,
    "model_name": model_name,
    "clock": clock,
    "moment": moment,
    "money": money,
    "number": number,
    "odds": odds,
    "percent": percent,
    "perplexity": perplexity,
    "plural": plural,
    "points": points,
    "power_plot": power_plot.power_plot,
    "rate_scale": scales.rate_scale,
    "roughly": roughly,
    "signed_span": signed_span,
    "some": some,
    "span": span,
    "step_plot": scales.step_plot,
    "strength_scale": scales.strength_scale,
    "variance_parts": scales.variance_parts,
    "words": plain_words,
}
