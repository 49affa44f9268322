"""Curves of a run that may have any number of steps: how they are cut into few places, and made smooth."""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_PLACES = 300
"""Of a curve: about one for every three pixels of a wide screen."""

_SMOOTHED_SHARE = 15
"""The smooth line looks back over about this part of what is drawn: one fifteenth."""


@dataclass(frozen=True)
class Place:
    """Some steps in a row as one place of a curve: their mean, and the lowest and highest value among them."""

    x: float
    """The mean of their steps, or of their tokens so far."""
    mean: float
    low: float
    high: float


def bucket_width(first: int, last: int, most: int = MOST_PLACES) -> int:
    """How many steps make one place, so that ``first … last`` (both included) become at most ``most``; at least 1."""
    return max(1, -(-(last - first + 1) // most))


def smoothing_span(places: int) -> int:
    """Over about how many places a curve of so many is smoothed; 1 leaves it as it is."""
    return max(1, places // _SMOOTHED_SHARE)


def smoothed(values: Sequence[float], span: int) -> list[float]:
    """Exponential moving averages with the weight 2 / (span + 1), corrected for their beginning.

    The correction divides by the weight that was given so far, as Adam does for its moments: without it the line
    would start at 0. A ``span`` of 1 gives the values themselves.
    """
    kept = 1 - 2 / (span + 1)
    average, weight, line = 0.0, 0.0, []
    for value in values:
        average = kept * average + (1 - kept) * value
        weight = kept * weight + (1 - kept)
        line.append(average / weight)
    return line
