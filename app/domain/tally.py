"""Verdicts counted by checkpoint, and the one summary that every interval is made from.

One observation is one verdict, coded from the challenger's side: ``y = 1`` the challenger was preferred,
``0`` the baseline, one half a tie. Verdicts on the same prompt resemble each other, so the uncertainty is
computed over prompts (clusters), not over verdicts: Miller 2024, arXiv 2411.00640.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.domain.terms import Choice, Outcome

TIE = 0.5

# Below this share of the sum of squares a spread is rounding error: all observations are the same value.
_ROUNDING = 1e-12

# Ties shrink the variance. Without a limit, three wins and ninety-seven ties would weigh like thousands.
LARGEST_WEIGHT_OF_ONE_VERDICT = 5


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of verdicts from the challenger's side.

    ``ties`` includes ``both_bad``, which is the flagged subset of it. Raises ``ValueError`` for counts that
    no set of verdicts can have.
    """

    wins: int
    losses: int
    ties: int
    both_bad: int = 0

    def __post_init__(self) -> None:
        if min(self.wins, self.losses, self.ties, self.both_bad) < 0:
            raise ValueError(f"a count of verdicts cannot be negative: {self}")
        if self.both_bad > self.ties:
            raise ValueError(f"more verdicts are flagged both bad than there are ties: {self}")

    @classmethod
    def of(cls, outcome: Outcome, votes: int = 1, *, choice: Choice | None = None) -> Self:
        """So many verdicts of one outcome, from the side of ``second``; the choice tells ties that say both bad."""
        return cls(
            wins=votes * (outcome is Outcome.SECOND),
            losses=votes * (outcome is Outcome.FIRST),
            ties=votes * (outcome is Outcome.TIE),
            both_bad=votes * (choice is Choice.BOTH_BAD),
        )

    @property
    def n(self) -> int:
        """Number of verdicts."""
        return self.wins + self.losses + self.ties

    @property
    def decisive(self) -> int:
        """Number of verdicts that preferred one side."""
        return self.wins + self.losses

    @property
    def score(self) -> float:
        """Sum of y: a win is 1, a tie one half."""
        return self.wins + TIE * self.ties

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.wins + other.wins,
            self.losses + other.losses,
            self.ties + other.ties,
            self.both_bad + other.both_bad,
        )

    def __sub__(self, other: "Tally") -> "Tally":
        """What is left without ``other``, a part of these verdicts."""
        return Tally(
            self.wins - other.wins,
            self.losses - other.losses,
            self.ties - other.ties,
            self.both_bad - other.both_bad,
        )

    def flipped(self) -> "Tally":
        """The same verdicts from the baseline's side."""
        return Tally(self.losses, self.wins, self.ties, self.both_bad)


Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class PromptCounts:
    """Verdicts of many prompts, counted like a ``Tally``: integer arrays of shape (G,), one entry a prompt.

    A prompt without a verdict may be among them; it has zeros.
    """

    wins: Counts
    losses: Counts
    ties: Counts
    both_bad: Counts

    @property
    def n(self) -> Counts:
        """Number of verdicts of each prompt, of shape (G,)."""
        return self.wins + self.losses + self.ties

    @property
    def total(self) -> Tally:
        """All of them together."""
        return Tally(*(int(counts.sum()) for counts in self._columns))

    @property
    def _columns(self) -> tuple[Counts, Counts, Counts, Counts]:
        return self.wins, self.losses, self.ties, self.both_bad

    def __add__(self, other: "PromptCounts") -> "PromptCounts":
        return PromptCounts(*(one + more for one, more in zip(self._columns, other._columns, strict=True)))

    def __sub__(self, other: "PromptCounts") -> "PromptCounts":
        return PromptCounts(*(one - less for one, less in zip(self._columns, other._columns, strict=True)))

    def __getitem__(self, which: NDArray[np.bool_]) -> "PromptCounts":
        """Some of the prompts: ``which`` has shape (G,)."""
        return PromptCounts(*(counts[which] for counts in self._columns))


@dataclass(frozen=True, eq=False, slots=True)
class ClusterSums:
    """Sums over the observations of each prompt; four arrays of shape (G,), one entry a prompt.

    ``n`` counts observations (at least 1), ``total`` sums y, ``squares`` sums y squared and ``decisive``
    counts the observations with y other than one half, which the sums cannot tell when y takes further
    values (a judge that answers differently in the two orders gives .25 or .75).
    """

    n: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    decisive: NDArray[np.float64]

    @classmethod
    def from_tallies(cls, tallies: Iterable[Tally]) -> Self:
        """One tally a prompt; prompts without a verdict are dropped."""
        return cls._from_rows(
            [(t.n, t.score, t.wins + TIE**2 * t.ties, t.decisive) for t in tallies if t.n > 0],
        )

    @classmethod
    def from_counts(cls, counts: PromptCounts) -> Self:
        """The same from arrays; prompts without a verdict are dropped."""
        voted = counts[counts.n > 0]
        wins, losses, ties = (np.asarray(part, dtype=np.float64) for part in (voted.wins, voted.losses, voted.ties))
        decisive = wins + losses
        return cls(n=decisive + ties, total=wins + TIE * ties, squares=wins + TIE**2 * ties, decisive=decisive)

    @classmethod
    def from_observations(cls, prompts: Sequence[Sequence[float]]) -> Self:
        """The values y of each prompt; prompts without one are dropped.

        Raises ``ValueError`` if a value lies outside [0, 1] or is not a number.
        """
        rows: list[tuple[float, float, float, float]] = []
        for prompt in prompts:
            y = np.asarray(prompt, dtype=np.float64)
            if not np.all((y >= 0) & (y <= 1)):
                raise ValueError(f"an observation lies between 0 and 1, got {list(prompt)}")
            if y.size:
                rows.append((y.size, float(y.sum()), float(y @ y), int(np.count_nonzero(y != TIE))))
        return cls._from_rows(rows)

    @classmethod
    def _from_rows(cls, rows: Sequence[tuple[float, float, float, float]]) -> Self:
        columns = np.array(rows, dtype=np.float64).reshape(-1, 4).T
        return cls(n=columns[0], total=columns[1], squares=columns[2], decisive=columns[3])


@dataclass(frozen=True, slots=True)
class Summary:
    """What an interval needs to know about a set of verdicts.

    ``p`` is the win rate, ``n_eff`` the number of independent verdicts that would be as informative,
    ``df`` the degrees of freedom (prompts - 1), ``n`` the verdicts, ``prompts`` those with a verdict and
    ``decisive`` the verdicts that are not ties.
    """

    p: float
    n_eff: float
    df: int
    n: int
    prompts: int
    decisive: int


def summarise(sums: ClusterSums) -> Summary | None:
    """Win rate and effective number of verdicts; ``None`` when there is no verdict yet.

    The variance is the larger of the one between prompts and the one between verdicts, so that a lucky
    agreement of prompts never makes verdicts count for more than if they were independent.
    """
    n = float(sums.n.sum())
    if n == 0:
        return None
    prompts = int(sums.n.size)
    p = min(float(sums.total.sum()) / n, 1.0)
    return Summary(
        p=p,
        n_eff=_effective_size(sums, p, n, prompts),
        df=prompts - 1,
        n=int(n),
        prompts=prompts,
        decisive=int(sums.decisive.sum()),
    )


def _effective_size(sums: ClusterSums, p: float, n: float, prompts: int) -> float:
    squares = float(sums.squares.sum())
    spread = squares - n * p * p
    if spread <= _ROUNDING * squares:  # every verdict is the same; also every n of 1
        return n
    variance = spread / (n - 1) / n
    if prompts > 1:  # one prompt says nothing about the variance between prompts
        residuals = sums.total - sums.n * p
        between = prompts / (prompts - 1) * float(residuals @ residuals) / (n * n)
        variance = max(variance, between)
    return min(p * (1 - p) / variance, LARGEST_WEIGHT_OF_ONE_VERDICT * n)
