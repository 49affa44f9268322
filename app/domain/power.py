"""How probable it is that a plan tells a true win rate from one half, by the very rule that the results are read by.

A vote that is not a tie is a win with the probability p' = 1/2 + (p - 1/2) / (1 - tie rate). Votes on one prompt
resemble each other, so k of them count as k / (1 + (m - 1) ICC) independent ones. For these the probability that the
live interval has left out one half at some time is computed without an approximation: how likely each number of wins
still is after k votes, in studies that have not left it out so far, follows from how likely each was after k - 1. The
rule knows nothing of p, so this is done once at p' = 1/2, and the studies that stop after k votes with s wins are as
likely as then times (2p')^s (2 - 2p')^(k - s).

Simulated studies that are read after every vote differ by at most 5 points from it; the normal approximation of
``app.domain.planner`` gives twice as much where the votes are few.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtrit

from app.domain.intervals import MIN_EFFECTIVE, MIN_PROMPTS, log_e_value
from app.domain.planner import USUAL, Assumptions, exact_votes, power, votes_needed

EVEN = 0.5
_SMALLEST_EFFECT = 1e-4
_ROUNDING = 1e-9
_ALMOST_SURE = 1 - _ROUNDING
"""Nothing that is drawn is certain; a sum of many small numbers may say it is."""
_MOST_EXACT = 2_048
"""Independent decisive votes up to which all of this is exact. Beyond, a win rate of 54% is told from one half, and the
normal approximation is as good."""
_LIVE_FACTOR = 1.9
"""What reading after every vote costs beyond that; it grows with the votes, and has come to this there."""
_SMALLEST_TABLE = 64
_NEARLY = 1.1
_TENTH = 0.1


class Stops(NamedTuple):
    """Where studies of two equals leave out one half: after so many votes, with so many wins, how probably."""

    votes: NDArray[np.int_]
    wins: NDArray[np.int_]
    probability: NDArray[np.float64]


def chance(prompts: int, votes_per_prompt: int, p: float, assumptions: Assumptions = USUAL) -> float:
    """How probable it is that so many votes tell a true win rate ``p`` from one half, read live or once at the end.

    ``votes_per_prompt`` counts all votes on one prompt (replicates times votes per pair). Raises ``ValueError`` for a
    p that the expected share of ties rules out.
    """
    effect = abs(p - EVEN)
    if effect > assumptions.largest_effect + _ROUNDING:
        raise ValueError(f"a true rate of {p} does not go with {assumptions.tie_rate:.0%} ties")
    decisive = 1 - assumptions.tie_rate
    votes = prompts * votes_per_prompt * decisive / _resemblance(votes_per_prompt, assumptions)
    wins = min(1.0, EVEN + effect / decisive)
    if prompts < MIN_PROMPTS or votes < 1:
        return 0.0
    if votes > _MOST_EXACT:
        return _about(votes / (_LIVE_FACTOR if assumptions.live else 1), wins - EVEN, assumptions.alpha)
    part = votes - math.floor(votes)
    fewer, more = (_exact(whole, prompts, wins, assumptions) for whole in (math.floor(votes), math.floor(votes) + 1))
    return (1 - part) * fewer + part * more


def smallest(prompts: int, votes_per_prompt: int, assumptions: Assumptions = USUAL) -> float | None:
    """The smallest true win rate above one half that a plan tells from it with the wanted power.

    ``None`` when even the largest rate that the expected share of ties allows would be missed too often.
    """

    def excess(effect: float) -> float:
        return chance(prompts, votes_per_prompt, EVEN + effect, assumptions) - assumptions.power

    if excess(assumptions.largest_effect) < 0:
        return None
    return EVEN + float(brentq(excess, _SMALLEST_EFFECT, assumptions.largest_effect, xtol=1e-5))


def prompts_needed(p: float, votes_per_prompt: int = 1, assumptions: Assumptions = USUAL) -> int:
    """Prompts with so many votes each that tell a true win rate ``p`` from one half with the wanted power.

    Raises ``ValueError`` for p = 1/2 and a p that the expected share of ties rules out.
    """
    if not assumptions.live:
        if not 0 < abs(p - EVEN) <= assumptions.largest_effect:
            raise ValueError(f"a true rate of {p} cannot be told from one half with {assumptions.tie_rate:.0%} ties")
        decisive = 1 - assumptions.tie_rate
        wins = min(EVEN + abs(p - EVEN) / decisive, 1 - _SMALLEST_EFFECT)
        votes = exact_votes(wins, assumptions.power, assumptions.alpha) / decisive
        return math.ceil(votes * _resemblance(votes_per_prompt, assumptions) / votes_per_prompt)
    about = math.ceil(votes_needed(p, votes_per_prompt, assumptions) / votes_per_prompt)

    def enough(prompts: int) -> bool:
        return chance(prompts, votes_per_prompt, p, assumptions) >= assumptions.power

    low, high = 0, about
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _resemblance(votes_per_prompt: int, assumptions: Assumptions) -> float:
    """How many votes on a prompt are worth an independent one, when it has so many."""
    return 1 + (votes_per_prompt - 1) * assumptions.icc


def _exact(votes: int, prompts: int, wins: float, assumptions: Assumptions) -> float:
    if not assumptions.live:
        return power(votes, wins, assumptions.alpha)
    size = max(_SMALLEST_TABLE, 1 << (votes - 1).bit_length())
    # Both only say how well the variance is known by then. Rounded, plans that are nearly alike share a table.
    decisive = max(_TENTH, round(1 - assumptions.tie_rate, 1))
    first_round = round(_two_figures(prompts) * decisive)
    if first_round * _NEARLY >= votes:
        first_round = size
    found = _stops(size, min(first_round, size), decisive, assumptions.alpha)
    there = found.votes <= votes
    stopped, won, likely = found.votes[there], found.wins[there], found.probability[there]
    lost = stopped - won
    with np.errstate(divide="ignore", invalid="ignore"):  # a rate of 1 never loses
        weight = won * np.log(2 * wins) + np.where(lost == 0, 0.0, lost * np.log(2 - 2 * wins))
    return min(_ALMOST_SURE, float((likely * np.exp(weight)).sum()))


def _two_figures(count: int) -> int:
    unit = int(10 ** max(0, len(str(count)) - 2))
    return count - count % unit


@lru_cache(maxsize=128)
def _stops(votes: int, first_round: int, decisive: float, alpha: float) -> Stops:
    """Studies of two equals, read after each of so many votes.

    ``first_round``: decisive votes until every prompt has its first one; from then on no prompt is new.
    """
    still, wins = np.ones(1), 0
    found: list[tuple[int, int, float]] = []
    for count in range(1, votes + 1):
        half = still / 2
        still = np.append(half, 0.0)
        still[1:] += half
        prompts = math.floor(min(count, first_round) / decisive)
        if count < MIN_EFFECTIVE or prompts < MIN_PROMPTS:
            continue
        shrunk = (float(ndtri(alpha / 2)) / float(stdtrit(prompts - 1, alpha / 2))) ** 2
        wins = max(wins, (count + 1) // 2)
        while wins <= count and log_e_value(EVEN, shrunk * wins, shrunk * count) < -math.log(alpha):
            wins += 1
        few, many = still[: max(0, count - wins + 1)], still[wins:]
        for start, part in ((0, few), (wins, many)):
            found += [(count, start + int(place), float(part[place])) for place in np.flatnonzero(part)]
            part[:] = 0.0
    columns = np.array(found).reshape(-1, 3).T
    return Stops(columns[0].astype(np.int_), columns[1].astype(np.int_), columns[2])


def _about(votes: float, effect: float, alpha: float) -> float:
    """By the normal approximation, for so many independent votes without ties."""
    z = -float(ndtri(alpha / 2))
    spread = math.sqrt(EVEN**2 - effect**2) or _SMALLEST_EFFECT
    root = effect * math.sqrt(votes)
    return float(ndtr((root - z * EVEN) / spread) + ndtr((-root - z * EVEN) / spread))
