"""Whether a judge prefers a place instead of a text: what stood first in the prompt, and what was said when swapped.

A pair that is judged in both orders is the cleanest probe there is: the same two texts, only their places exchanged.
F pairs got "the first one" both times and S "the second one" both times. Without a bias towards a place both kinds are
equally likely, whatever the texts are, so F against S is an exact binomial test, and (F - S) / n is the net share of
pairs that the place decided. Single verdicts say the same only because their order was drawn at random: the share of
decisive ones that went to what stood first, against one half. Zheng et al. 2023, arXiv 2306.05685; Wang et al. 2023,
arXiv 2305.17926.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

from scipy.stats import binomtest

from app.domain.intervals import Interval, clopper_pearson
from app.domain.tally import TIE
from app.domain.terms import Choice, Outcome, SwapMode

BOTH_WAYS = 2
"""The orders in which a pair can be shown."""

VALUES = {Outcome.SECOND: 1.0, Outcome.TIE: TIE, Outcome.FIRST: 0.0}
"""An outcome from the side of ``second``."""


@dataclass(frozen=True, slots=True)
class Swaps:
    """Pairs that one judge saw in both orders, by what it said.

    ``same``: the same outcome twice. ``first`` (F): both times the text that stood first. ``second`` (S): both times
    the one that stood second. ``mixed``: a tie in one order alone.
    """

    same: int = 0
    first: int = 0
    second: int = 0
    mixed: int = 0

    @classmethod
    def count(cls, said: Iterable[tuple[Choice, Choice]]) -> Self:
        """From the two choices on each pair, one in each order, as sides of what was shown."""
        same = first = second = mixed = 0
        for one, other in said:
            sides = {one, other}
            if Choice.A in sides and Choice.B in sides:
                same += 1  # the texts changed places and the choice went with the text
            elif sides == {Choice.A}:
                first += 1
            elif sides == {Choice.B}:
                second += 1
            elif Choice.A in sides or Choice.B in sides:
                mixed += 1
            else:
                same += 1  # a tie twice
        return cls(same, first, second, mixed)

    @property
    def n(self) -> int:
        """Pairs with a verdict in both orders."""
        return self.same + self.first + self.second + self.mixed

    @property
    def inconsistent(self) -> int:
        """Pairs with another outcome in the other order."""
        return self.first + self.second + self.mixed

    @property
    def consistency(self) -> float | None:
        """The share of pairs with the same outcome in both orders."""
        return self.same / self.n if self.n else None

    @property
    def consistency_interval(self) -> Interval | None:
        """The exact interval of that share."""
        return clopper_pearson(self.same, self.n) if self.n else None

    @property
    def net(self) -> float | None:
        """(F - S) / n: 1 for a judge that always prefers what stands first, -1 for the opposite, 0 without a bias."""
        return (self.first - self.second) / self.n if self.n else None

    @property
    def p(self) -> float | None:
        """How often a judge without a bias would be at least as lopsided: exact binomial test of F against S."""
        placed = self.first + self.second
        return float(binomtest(self.first, placed).pvalue) if placed else None

    def __add__(self, other: "Swaps") -> "Swaps":
        return Swaps(
            self.same + other.same, self.first + other.first, self.second + other.second, self.mixed + other.mixed
        )


@dataclass(frozen=True, slots=True)
class Places:
    """Single verdicts by the place of the text they preferred."""

    first: int = 0
    second: int = 0
    ties: int = 0

    @classmethod
    def count(cls, choices: Iterable[Choice]) -> Self:
        """From choices as sides of what was shown; A stands first."""
        found = list(choices)
        first, second = found.count(Choice.A), found.count(Choice.B)
        return cls(first, second, len(found) - first - second)

    @property
    def decisive(self) -> int:
        """Verdicts that prefer a text."""
        return self.first + self.second

    @property
    def first_rate(self) -> float | None:
        """P(first | decisive): the share of decisive verdicts for the text that stood first."""
        return self.first / self.decisive if self.decisive else None

    @property
    def interval(self) -> Interval | None:
        """The exact interval of that share, for verdicts on different pairs."""
        return clopper_pearson(self.first, self.decisive) if self.decisive else None

    @property
    def p(self) -> float | None:
        """How often it would be at least as far from one half by chance; right only for one verdict a pair."""
        return float(binomtest(self.first, self.decisive).pvalue) if self.decisive else None


def outcome_of(y: float) -> Outcome:
    """What a pair's mean over both orders says: a win of ``second`` above one half, a tie at it."""
    if y == TIE:
        return Outcome.TIE
    return Outcome.SECOND if y > TIE else Outcome.FIRST


def value_of(said: Collection[float], mode: SwapMode) -> float | None:
    """The one observation that a judge's verdicts on a pair make: the mean over both orders, from ``second``'s side.

    Each is in [0, 1], see ``VALUES``. ``None`` while an order is missing. Where the second order is only asked for
    after a preference, a tie is final; where only one was ever asked for, every verdict is.
    """
    final = mode is SwapMode.ONE or (mode is SwapMode.DECISIVE and list(said) == [TIE])
    if said and (len(said) == BOTH_WAYS or final):
        return sum(said) / len(said)
    return None
