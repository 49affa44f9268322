"""Who meets whom in an eval batch, with which sampling seeds, and which pairs need no voter."""

import hashlib
import json
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from app.domain.errors import BadInputError
from app.domain.terms import Design, Outcome, Settled

_SEED_BITS = 63  # the largest non-negative integer of every database and of torch's generators
MAX_RESPONSES = 200_000
"""What one eval batch may ask for: beyond it, somebody mistyped a number."""

_SHORT = 12  # characters of a fingerprint that are shown to people


class Matchup(NamedTuple):
    """The fingerprints of two checkpoints in canonical order."""

    first: str
    second: str


def response_seed(batch_seed: int, prompt_sha256: str, replicate: int, fingerprint: str, twin: int) -> int:
    """The sampling seed of one response, in [0, 2**63).

    It depends on nothing but the five arguments, so responses are the same in whichever order, batch size or
    process they are made, and after a crash.
    """
    key = json.dumps(["response-seed", batch_seed, prompt_sha256, replicate, fingerprint, twin])
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _SEED_BITS)


def drawn(seed: int, what: str, hashes: Sequence[str], count: int) -> list[int]:
    """The places of ``count`` of these hashes, drawn by the seed of a batch and in their own order.

    Another ``what`` gives another draw. As with sampling seeds, nothing else matters: not a library's generator either.
    """
    ranked = sorted(
        range(len(hashes)),
        key=lambda place: hashlib.sha256(json.dumps(["drawn", seed, what, hashes[place]]).encode()).digest(),
    )
    return sorted(ranked[:count])


def settle(first_text: str, second_text: str) -> Settled | None:
    """Why this pair needs no voter, or ``None`` if it does.

    A text of nothing but white space is empty. Texts are identical only character by character.
    """
    first_empty, second_empty = not first_text.strip(), not second_text.strip()
    if first_empty and second_empty:
        return Settled.BOTH_EMPTY
    if first_empty:
        return Settled.EMPTY_FIRST
    if second_empty:
        return Settled.EMPTY_SECOND
    return Settled.IDENTICAL if first_text == second_text else None


def settled_outcome(settled: Settled) -> Outcome:
    """The outcome of a settled pair: the text that is there beats the one that is not."""
    match settled:
        case Settled.EMPTY_FIRST:
            return Outcome.SECOND
        case Settled.EMPTY_SECOND:
            return Outcome.FIRST
        case Settled.IDENTICAL | Settled.BOTH_EMPTY:
            return Outcome.TIE


def matchups(design: Design, baseline: str, challengers: Sequence[str]) -> list[Matchup]:
    """Every two checkpoints that meet, as fingerprints in canonical order.

    The baseline is always ``first``; between two challengers the smaller fingerprint is. A star has one
    matchup a challenger; a round robin adds every two challengers.

    Raises:
        BadInputError: no challenger, a challenger named twice, or the baseline named as a challenger.
    """
    if not challengers:
        raise BadInputError("An eval batch needs at least one challenger; nothing was launched.")
    if baseline in challengers:
        raise BadInputError(
            f"Checkpoint {baseline[:_SHORT]} is the baseline and cannot also be a challenger; nothing was "
            "launched. Remove it from the challengers or choose another baseline."
        )
    for position, challenger in enumerate(challengers):
        if challenger in challengers[:position]:
            raise BadInputError(
                f"Checkpoint {challenger[:_SHORT]} is named twice among the challengers; nothing was "
                "launched. Name each challenger once."
            )
    star = [Matchup(baseline, challenger) for challenger in challengers]
    match design:
        case Design.STAR:
            return star
        case Design.ROUND_ROBIN:
            return star + [Matchup(min(two), max(two)) for two in combinations(challengers, 2)]


def planned_pairs(prompts: int, replicates: int, matchups: int) -> int:
    """Number of pairs that an eval batch will hold: every matchup on every prompt and replicate."""
    return prompts * replicates * matchups
