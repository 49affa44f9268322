"""How many votes a question needs, shown before a launch.

Normal approximation for a rate against one half. Ties shrink the variance, verdicts on the same prompt
resemble each other and so count for less than independent ones, and an interval that may be read after every
vote costs about three quarters more votes than one that is read once.

For independent votes without ties the figures are also known without an approximation: ``power`` and
``exact_votes`` are those of the exact binomial test, ``LIVE_VOTES`` comes from simulated studies.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, ndtri
from scipy.stats import binom

# Ratio of the votes needed, from simulated studies that were looked at after every vote.
LIVE_FACTOR = 1.75

LIVE_VOTES: Mapping[float, int] = MappingProxyType({0.55: 1472, 0.60: 348, 0.65: 148, 0.70: 80, 10 / 13: 45})
"""Votes by true win rate after which 80% of simulated studies had told it from one half.

Looked at after every vote, one vote a prompt, no ties. Exact probabilities of the same give within 4% of them.
"""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What a plan takes for granted.

    ``tie_rate``: expected share of ties; ``icc``: share of the variance that lies between prompts;
    ``live``: the interval is read after every vote; ``power``: how probable it shall be that a true
    difference is seen; ``alpha``: how probable it may be that one is seen where there is none.
    """

    tie_rate: float = 0.1
    icc: float = 0.3
    live: bool = True
    power: float = 0.8
    alpha: float = 0.05

    @property
    def largest_effect(self) -> float:
        """The distance from one half when every vote that is not a tie prefers the same side."""
        return (1 - self.tie_rate) / 2


USUAL = Assumptions()


def votes_needed(p: float, votes_per_prompt: int = 1, assumptions: Assumptions = USUAL) -> int:
    """Votes after which a true win rate ``p`` is told from one half; p and 1 - p need the same.

    ``votes_per_prompt`` counts all votes on one prompt (replicates times votes per pair). Raises
    ``ValueError`` for p = 1/2, which no number of votes can tell from itself, and for a p that the expected
    share of ties rules out.
    """
    effect = abs(p - 0.5)
    if not 0 < effect <= assumptions.largest_effect:
        ties = f"{assumptions.tie_rate:.0%} ties"
        raise ValueError(f"a true rate of {p} cannot be told from one half with {ties}")
    return math.ceil(_votes(effect, votes_per_prompt, assumptions))


def power(votes: int, p: float, alpha: float = 0.05) -> float:
    """How probable it is that so many votes tell a true win rate ``p`` from one half, exactly.

    For the two-sided exact binomial test, read once: independent votes without ties.
    """
    return float(_powers(np.array([votes]), p, alpha)[0])


def exact_votes(p: float, wanted: float = 0.8, alpha: float = 0.05) -> int:
    """The fewest votes with at least this power, see ``power``.

    A few votes more may have less of it, as whole numbers of wins make it go up and down. Raises ``ValueError`` for
    p = 1/2 and rates outside (0, 1).
    """
    if not 0 < p < 1:
        raise ValueError(f"a true win rate lies between 0 and 1, got {p}")
    about = votes_needed(p, assumptions=Assumptions(tie_rate=0, live=False, power=wanted, alpha=alpha))
    votes = np.arange(1, 2 * about + 50)
    return int(votes[np.argmax(_powers(votes, p, alpha) >= wanted)])


def _powers(votes: NDArray[np.int_], p: float, alpha: float) -> NDArray[np.float64]:
    # The test refuses one half for at most so many wins, or losses.
    most = binom.ppf(alpha / 2, votes, 0.5)
    most = np.where(bdtr(most, votes, 0.5) > alpha / 2, most - 1, most)
    found: NDArray[np.float64] = np.where(most < 0, 0.0, bdtr(most, votes, p) + bdtrc(votes - most - 1, votes, p))
    return found


def _votes(effect: float, votes_per_prompt: int, given: Assumptions) -> float:
    variance_at_half = (1 - given.tie_rate) / 4
    variance = variance_at_half - effect**2
    z_alpha, z_beta = -float(ndtri(given.alpha / 2)), float(ndtri(given.power))
    independent = ((z_alpha * math.sqrt(variance_at_half) + z_beta * math.sqrt(variance)) / effect) ** 2
    resemblance = 1 + (votes_per_prompt - 1) * given.icc
    return independent * resemblance * (LIVE_FACTOR if given.live else 1.0)
