"""Raters with a known taste, for learning the tool: what the arena shows can be held against what is true."""

import random
from dataclasses import dataclass

from app.domain.errors import BadInputError
from app.domain.tally import TIE
from app.domain.terms import Outcome

_SMALLEST = 1e-6
"""Nearer to an end than this, the sampler of the Beta distribution may never return."""


@dataclass(frozen=True, slots=True)
class Taste:
    """What simulated raters prefer.

    ``rate`` is the true win rate of each challenger against the baseline, a tie counting as half; two challengers
    of the same rate meet as equals.
    ``ties`` is the share of ties. ``noise`` is how much prompts differ: 0 means that every prompt has the same
    rate, 1 that on each prompt everybody prefers the same side; in between it is the share of the variance that
    lies between prompts (the intraclass correlation of verdicts on one prompt). Whatever the noise, ``rate`` is
    the mean over all prompts there could be; the prompts of one suite are a draw from these.

    Raises:
        BadInputError: a number lies outside [0, 1], or so many ties leave no room for this rate.
    """

    rate: float
    noise: float = 0.1
    ties: float = 0.1

    def __post_init__(self) -> None:
        for word, value in (("rate", self.rate), ("noise", self.noise), ("ties", self.ties)):
            if not 0 <= value <= 1:  # also refuses NaN
                raise BadInputError(f"Nothing was simulated: the {word} must lie between 0 and 1, not {value}.")
        if self.ties * TIE > min(self.rate, 1 - self.rate):
            raise BadInputError(
                f"Nothing was simulated: with {self.ties:.0%} ties, each counting as half, a win rate of "
                f"{self.rate:.0%} cannot come out. Ask for fewer ties."
            )

    @property
    def decisive_rate(self) -> float:
        """How often the second response wins where there is no tie."""
        return (self.rate - TIE * self.ties) / (1 - self.ties) if self.ties < 1 else TIE


def prompt_rates(taste: Taste, prompts: int, rng: random.Random) -> list[float]:
    """The decisive rate of each prompt: a Beta distribution around the taste's, whose spread is the noise.

    For Beta(a, b) with a + b = 1/noise - 1, two verdicts on one prompt correlate by the noise.
    """
    mean = taste.decisive_rate
    if taste.noise < _SMALLEST or min(mean, 1 - mean) < _SMALLEST:
        return [mean] * prompts
    if taste.noise > 1 - _SMALLEST:
        return [float(rng.random() < mean) for _ in range(prompts)]
    size = 1 / taste.noise - 1
    return [rng.betavariate(mean * size, (1 - mean) * size) for _ in range(prompts)]


def draw(taste: Taste, decisive_rate: float, rng: random.Random) -> Outcome:
    """One verdict on a prompt with this decisive rate."""
    if rng.random() < taste.ties:
        return Outcome.TIE
    return Outcome.SECOND if rng.random() < decisive_rate else Outcome.FIRST
