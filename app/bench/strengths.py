"""Bradley-Terry strengths of checkpoints that all meet: from tallies here, from single verdicts by evalica."""

import time
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import combinations
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain.bradley_terry import Strengths, fit

_CALLS = 5
_TIES = 0.1
_FURTHEST = 1e-3
"""Log odds; evalica stops when its strengths move less than a millionth of their sum."""


@dataclass(frozen=True)
class StrengthsMeasured:
    """Medians in milliseconds; what evalica takes is ``None`` where it is not installed."""

    verdicts: int
    checkpoints: int
    cells: int
    fit_ms: float
    """From a tally a cell, which an arena keeps: two checkpoints on one prompt."""
    counted_ms: float
    """The same with counting the verdicts into cells first."""
    evalica_ms: float | None
    furthest_apart: float | None
    """The largest difference of a strength by either, in log odds, without pseudo wins."""

    @property
    def holds(self) -> bool:
        """Whether both come to the same strengths. Times never decide."""
        return self.furthest_apart is None or self.furthest_apart < _FURTHEST

    @property
    def times_faster(self) -> float | None:
        """How many times as long as the fit evalica takes."""
        return None if self.evalica_ms is None else round(self.evalica_ms / self.fit_ms, 1)

    @property
    def times_faster_counted(self) -> float | None:
        """The same where both begin at single verdicts."""
        return None if self.evalica_ms is None else round(self.evalica_ms / self.counted_ms, 1)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        more = {"times_faster": self.times_faster, "times_faster_counted": self.times_faster_counted}
        return {**asdict(self), **more, "holds": self.holds}


@dataclass(frozen=True, eq=False)
class _Verdicts:
    """Single verdicts, arrays of shape (N,): cells by number, and 0 for the first, 1 for the second, 2 for a tie."""

    one: NDArray[np.intp]
    """By cell."""
    other: NDArray[np.intp]
    prompt: NDArray[np.intp]
    cell: NDArray[np.intp]
    said: NDArray[np.intp]

    def counted(self) -> NDArray[np.float64]:
        """Verdicts of each cell by what they say: shape (3, cells)."""
        flat = np.bincount(3 * self.cell + self.said, minlength=3 * self.one.size)
        return np.ascontiguousarray(flat.reshape(-1, 3).T, dtype=np.float64)


def measure_strengths(
    *, checkpoints: int, prompts: int, verdicts: int, seed: int = 1, calls: int = _CALLS
) -> StrengthsMeasured:
    """Draw so many verdicts between checkpoints of known strengths and fit them."""
    drawn = _draw(checkpoints, prompts, verdicts, np.random.default_rng(seed))
    counts = drawn.counted()
    fit_ms = _median(lambda: _fit(drawn, counts, checkpoints), calls)
    counted_ms = _median(lambda: _fit(drawn, drawn.counted(), checkpoints), calls)
    theirs, evalica_ms = _by_evalica(drawn, checkpoints)
    apart = None
    if theirs is not None:
        ours = _fit(drawn, counts, checkpoints, pseudo_wins=0.0).strength
        apart = float(np.abs(ours - (theirs - theirs.mean())).max())
    return StrengthsMeasured(verdicts, checkpoints, drawn.one.size, fit_ms, counted_ms, evalica_ms, apart)


def _draw(checkpoints: int, prompts: int, verdicts: int, rng: np.random.Generator) -> _Verdicts:
    strength = rng.normal(0, 0.5, checkpoints)
    first, second = np.array(list(combinations(range(checkpoints), 2)), dtype=np.intp).T
    one, other = np.repeat(first, prompts), np.repeat(second, prompts)
    prompt = np.tile(np.arange(prompts, dtype=np.intp), first.size)
    cell = rng.integers(one.size, size=verdicts)
    wins = rng.random(verdicts) < 1 / (1 + np.exp(strength[other] - strength[one]))[cell]
    said = np.where(rng.random(verdicts) < _TIES, 2, np.where(wins, 0, 1)).astype(np.intp)
    return _Verdicts(one, other, prompt, cell, said)


def _fit(drawn: _Verdicts, counts: NDArray[np.float64], checkpoints: int, **more: float) -> Strengths:
    return fit(drawn.one, drawn.other, drawn.prompt, *counts, checkpoints=checkpoints, **more)


def _by_evalica(drawn: _Verdicts, checkpoints: int) -> tuple[NDArray[np.float64] | None, float | None]:
    """Its strengths in log odds, and how long it takes from lists of verdicts, as it wants them."""
    if find_spec("evalica") is None:
        return None, None
    evalica = import_module("evalica")
    names = np.array([evalica.Winner.X, evalica.Winner.Y, evalica.Winner.Draw], dtype=object)
    xs, ys = drawn.one[drawn.cell].tolist(), drawn.other[drawn.cell].tolist()
    winners = names[drawn.said].tolist()
    found: list[Any] = []
    milliseconds = _median(lambda: found.append(evalica.bradley_terry(xs, ys, winners)), 1)
    return np.log(found[-1].scores.loc[list(range(checkpoints))].to_numpy()), milliseconds


def _median(call: Any, calls: int) -> float:
    """Milliseconds of the median call, after one that is not counted."""
    times = []
    for _ in range(1 + calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(1000 * median(times[1:]), 2)
