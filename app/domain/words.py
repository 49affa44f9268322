"""The result in words: a plain sentence first, the number second, and how far it can be trusted."""

import math
from enum import StrEnum

from app.domain.intervals import MIN_DECISIVE, MIN_EFFECTIVE, MIN_PROMPTS, Interval, too_early
from app.domain.tally import Summary, Tally

EVEN = 0.5  # the rate of two equals

_SAME = 1e-9


class Standing(StrEnum):
    """What may be said about the challenger."""

    NOTHING_YET = "nothing_yet"
    TOO_EARLY = "too_early"
    OPEN = "open"
    BETTER = "better"
    WORSE = "worse"


def verdict(summary: Summary | None, interval: Interval | None) -> Standing:
    """The standing of the challenger; ``OPEN`` when the interval contains one half.

    ``interval`` may be ``None`` where none is shown: without votes and when it is too early. Raises
    ``ValueError`` if it is missing otherwise.
    """
    if summary is None:
        return Standing.NOTHING_YET
    if too_early(summary):
        return Standing.TOO_EARLY
    if interval is None:
        raise ValueError("these votes are enough for an interval; pass it")
    if interval.low > EVEN:
        return Standing.BETTER
    return Standing.WORSE if interval.high < EVEN else Standing.OPEN


def headline(
    challenger: str,
    baseline: str,
    tally: Tally,
    summary: Summary | None,
    interval: Interval | None,
    where: str | None,
    *,
    final: bool = False,
) -> str:
    """One or two sentences on what the votes say about the challenger.

    ``tally`` and ``summary`` describe the same votes. ``where`` says on which prompts in words that follow a
    verb: "in-domain", "on coding". Without an interval to show, the counts stand alone. ``final``: no vote will follow,
    so nothing is "too early".
    """
    place = f" {where}" if where else ""
    standing = verdict(summary, interval)
    if summary is None or interval is None or standing in (Standing.NOTHING_YET, Standing.TOO_EARLY):
        return _counts_alone(challenger, baseline, tally, summary, place, final=final)
    found = f"{_counts(tally)} {rate_words(tally, summary)}; {range_words(interval)}."
    if standing is Standing.OPEN:
        return f"{challenger} is preferred{place} in {found} {open_question(summary.p, final=final)}"
    return f"{challenger} is {standing} than {baseline}{place}: preferred in {found}"


def percent(rate: float) -> str:
    """A rate in [0, 1] as a whole percentage that never claims more than it should.

    Only 0, 1 and 1/2 themselves are shown as 0%, 100% and 50%: 0.996 is "over 99%", 0.503 is "50.3%".
    """
    if rate in (0, EVEN, 1):
        return f"{rate:.0%}"
    shown = f"{math.floor(100 * rate + 0.5)}%"
    if shown == "50%":
        shown = f"{rate:.1%}"
    claims_too_much = {
        "0%": "under 1%",
        "100%": "over 99%",
        "50.0%": "just over 50%" if rate > EVEN else "just under 50%",
    }
    return claims_too_much.get(shown, shown)


def _counts_alone(
    challenger: str, baseline: str, tally: Tally, summary: Summary | None, place: str, *, final: bool
) -> str:
    two = f"{challenger} against {baseline}{place}"
    if summary is None:
        return f"Nobody voted on {two}." if final else f"No votes yet on {two}."
    early = "Too few" if final else "Too early"
    if tally.n == 1:
        found = "is a tie" if tally.ties else f"prefers {challenger if tally.wins else baseline}"
        return f"The only vote{'' if final else ' so far'} on {two} {found}. {early} to say more."
    if tally.decisive == 0:
        counts = f"All {tally.n:,} votes on {two} are ties"
    else:
        counts = f"{challenger} is preferred{place} in {_counts(tally)}"
    return f"{counts}. {early} for a range: {shortage(summary)}."


def shortage(summary: Summary, votes: str = "votes") -> str:
    """What is missing for a range; ``votes``: what they are called where judges speak."""
    if summary.prompts < MIN_PROMPTS:
        return f"it needs at least {MIN_PROMPTS} prompts with {votes} and has {summary.prompts}"
    if summary.decisive < MIN_DECISIVE:
        return f"it needs at least {MIN_DECISIVE} decisive {votes} and has {summary.decisive}"
    about = min(round(summary.n_eff), MIN_EFFECTIVE - 1)  # 9.7 are no 10, and would be called enough
    worth = f"about {about}" if about else "less than 1"
    return f"it needs the weight of at least {MIN_EFFECTIVE} independent {votes}, and these have that of {worth}"


def _counts(tally: Tally) -> str:
    if tally.ties == 0:
        return f"{tally.wins:,} of {tally.n:,}"
    votes = "vote" if tally.decisive == 1 else "votes"
    ties = "1 tie" if tally.ties == 1 else f"{tally.ties:,} ties"
    return f"{tally.wins:,} of {tally.decisive:,} decisive {votes}, with {ties}"


def rate_words(tally: Tally, summary: Summary) -> str:
    """The win rate in brackets, and how what is no win and no loss counts."""
    rate = percent(summary.p)
    if abs(summary.p - tally.score / tally.n) > _SAME:
        # A judge that answered differently in the two orders of a pair gives .25 or .75.
        return f"(a win rate of {rate}, ties and half-won pairs counting in part)"
    return f"(a win rate of {rate}, a tie counting as half)" if tally.ties else f"({rate})"


def range_words(interval: Interval) -> str:
    """What the true rate could be."""
    low, high = percent(interval.low), percent(interval.high)
    return f"on prompts like these the true rate could be anywhere from {low} to {high}"


def open_question(p: float, *, final: bool = False) -> str:
    """What may not be said, yet or at all, where the range includes one half."""
    if abs(p - EVEN) <= _SAME:
        return "Neither is ahead."
    called = "better" if p > EVEN else "worse"
    return f"That is not enough to call it {called}." if final else f"Too early to call it {called}."
