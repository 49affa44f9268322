"""What judges say, in words. A judge is always named or called a judge: never a person, never "preferred" by nobody."""

from app.domain.agreement import Agreement
from app.domain.intervals import Interval
from app.domain.length import LengthCard
from app.domain.marginals import Gap
from app.domain.position import Places, Swaps
from app.domain.tally import Summary, Tally
from app.domain.words import Standing, open_question, percent, range_words, rate_words, shortage, verdict

SIMULATED_JUDGES = "With simulated judges: "
"""Before every sentence that a simulated judge went into, so that none can be quoted without it."""

_RARE = 0.05
"""Below this a lopsided count is told as more than chance explains."""

_WORTH_TELLING = 1.05
"""As how many votes a human vote counts at least before judges are said to help."""

_SAME = 1e-9

PLACES = 3
_LEAST_P = 0.001


def judged_words(
    who: str, challenger: str, baseline: str, tally: Tally, summary: Summary | None, interval: Interval | None
) -> str:
    """What one judge says about the challenger; ``tally`` counts pairs."""
    if summary is None:
        return f"{who} has not judged a pair of {challenger} against {baseline} yet."
    return _said(f"{who} prefers", challenger, baseline, tally, summary, interval, ("pair", "pairs"), "")


def together_words(
    judges: int, challenger: str, baseline: str, tally: Tally, summary: Summary | None, interval: Interval | None
) -> str:
    """What several judges say together; ``tally`` counts one for each judge and pair."""
    if summary is None:
        return f"No judge has judged a pair of {challenger} against {baseline} yet."
    who = f"The {judges} judges together prefer"
    kinds = ("case", "cases")
    return _said(who, challenger, baseline, tally, summary, interval, kinds, ", one for each judge and pair")


def _said(
    who: str, challenger: str, baseline: str, tally: Tally, summary: Summary, interval: Interval | None,
    kind: tuple[str, str], each: str,
) -> str:  # fmt: skip
    if tally.decisive == 0:
        told = "calls" if who.endswith("prefers") else "call"
        found = (
            f"{who.rpartition(' ')[0]} {told} {_number(tally.n, kind)} of {challenger} against {baseline} a tie{each}"
        )
    elif tally.ties:
        ties = _number(tally.ties, ("tie", "ties"))
        found = (
            f"{who} {challenger} to {baseline} in {tally.wins:,} of {_number(tally.decisive, kind)} with a preference"
            f"{each}, with {ties}"
        )
    else:
        found = f"{who} {challenger} to {baseline} in {tally.wins:,} of {_number(tally.n, kind)}{each}"
    if interval is None:
        return f"{found}. Too early for a range: {shortage(summary, 'verdicts')}."
    standing = verdict(summary, interval)
    told = f"{found} {rate_words(tally, summary)}; {range_words(interval)}."
    return f"{told} {open_question(summary.p)}" if standing is Standing.OPEN else told


def combined_words(
    challenger: str, baseline: str, summary: Summary, interval: Interval | None, multiplier: float
) -> str:
    """What people prefer by their votes and the verdicts of judges together."""
    if interval is None:
        return (
            f"People and judges together say too little yet of {challenger} against {baseline}: "
            f"{shortage(summary, 'votes of people')}."
        )
    standing = verdict(summary, interval)
    said = "is preferred by people" if standing is Standing.OPEN else f"is {standing} to people than {baseline}"
    found = (
        f"With the judges' help, {challenger} {said} at an estimated rate of {percent(summary.p)}; "
        f"{range_words(interval)}."
    )
    worth = worth_words(multiplier)
    return f"{found} {open_question(summary.p)} {worth}" if standing is Standing.OPEN else f"{found} {worth}"


def worth_words(multiplier: float) -> str:
    """How far judges help: as how many a vote of a person counts beside them."""
    if multiplier >= _WORTH_TELLING:
        return f"Each human vote counts as {multiplier:.1f} beside these judges."
    return "These judges add next to nothing to the votes of people."


def position_words(who: str, swaps: Swaps, places: Places) -> str:
    """Whether the place of a text decides what a judge says."""
    if not swaps.n:
        if not places.decisive:
            return f"{who} has not judged a pair in both orders yet."
        share = percent(places.first_rate or 0)
        return (
            f"{who} has not judged a pair in both orders yet. Of {_number(places.decisive, _PREFERENCES)}, {share} "
            "went to the text that stood first."
        )
    share = percent(swaps.same / swaps.n)
    same = f"{who} says the same in both orders on {swaps.same:,} of {_number(swaps.n, _PAIRS)} ({share})."
    if not swaps.first and not swaps.second:
        return f"{same} On no pair did it prefer the same place twice."
    found = (
        f"{same} It twice preferred the text that stood first on {swaps.first:,}, and the one that stood second on "
        f"{swaps.second:,}"
    )
    p = 1.0 if swaps.p is None else swaps.p
    if p >= _RARE:
        return f"{found}: no more lopsided than chance would be ({_p(p)})."
    place = "first" if swaps.first > swaps.second else "second"
    return f"{found}: it leans to what stands {place}, more than chance explains ({_p(p)})."


def length_words(who: str, challenger: str, card: LengthCard) -> str:
    """Whether a judge prefers longer texts, and what it would say at equal length."""
    if not card.decisive:
        return f"{who} has preferred no text yet that is longer or shorter than the other."
    of = _number(card.decisive, _PREFERENCES)
    found = f"{who} prefers the longer text in {card.longer:,} of {of} ({percent(card.longer / card.decisive)})."
    pull = card.pull
    if pull is None:
        return f"{found} {card.refused}"
    low, high = (percent(end) for end in pull.controlled_interval)
    at_equal = f"At equal length {challenger} would win {percent(pull.controlled)}, anywhere from {low} to {high}."
    if pull.phi_interval.low > 0:
        return f"{found} Length pulls it, more than chance explains. {at_equal}"
    if pull.phi_interval.high < 0:
        return f"{found} It is drawn to shorter texts, more than chance explains. {at_equal}"
    return f"{found} Whether length itself pulls it is open. {at_equal}"


def gap_words(who: str, challenger: str, gap: Gap) -> str:
    """Whether a judge favours the challenger more, or less, than people do on the same pairs, whatever its cause."""
    rates = f"{who} has {challenger} win {percent(gap.one)}, and people {percent(gap.other)}"
    found = f"On {_number(gap.n, _PAIRS)} that people voted on as well, {rates}: {_apart(gap.gap)}."
    if gap.interval is None:
        return f"{found} Too early for a range."
    low, high = gap.interval
    ranged = f"{found} On prompts like these it could be anywhere from {_signed(low)} to {_signed(high)} points."
    if low <= 0 <= high:
        return f"{ranged} Whether it leans to either side is open."
    return f"{ranged} It leans {'to' if gap.gap > 0 else 'away from'} {challenger}, more than chance explains."


def _apart(gap: float) -> str:
    points = round(100 * abs(gap))
    if not points:
        return "the same" if abs(gap) < _SAME else "less than a point apart"
    return f"{points} {'point' if points == 1 else 'points'} {'more' if gap > 0 else 'less'}"


def _signed(gap: float) -> str:
    """In points. What is not 0 is not shown as 0: a range that ends there would seem to hold it, or not to."""
    if abs(gap) < _SAME:
        return "0"
    digits = next((digits for digits in (0, 1) if round(100 * abs(gap), digits)), None)
    if digits is None:
        return f"just {'over' if gap > 0 else 'under'} 0"
    return f"{100 * gap:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def unparsed_words(who: str, replies: int, unparsed: int, lost: int) -> str:
    """How many replies held no legal choice; ``lost`` are pairs that will get no verdict for it."""
    if not replies:
        return f"No reply of {who} yet."
    if not unparsed:
        return f"Every one of {_number(replies, _REPLIES)} of {who} holds a legal choice."
    of = f"{unparsed:,} of {_number(replies, _REPLIES)} of {who} ({percent(unparsed / replies)})"
    found = f"{of} {'holds' if unparsed == 1 else 'hold'} no legal choice"
    if not lost:
        return f"{found}; every pair was answered when asked again."
    return f"{found}; {_number(lost, _PAIRS)} will stay without its verdict."


def agreement_words(one: str, other: str, found: Agreement) -> str:
    """How far two voters agree."""
    if found.raw is None:
        return f"{one} and {other} have no pair in common yet."
    agreed = f"{one} and {other} agree on {percent(found.raw)} of {_number(found.n, _PAIRS)}"
    if found.live is None:
        return f"{agreed}. Too early for a range."
    low, high = (percent(end) for end in found.live)
    return f"{agreed}; on prompts like these it could be anywhere from {low} to {high}."


def ceiling_words(found: Agreement) -> str:
    """How far people agree with each other."""
    if found.raw is None:
        return ""
    return (
        f"Two people agree with each other on {percent(found.raw)} of {_number(found.n, _PAIRS)} with two votes or "
        "more: measure a judge against that, not against 100%."
    )


_PAIRS = ("pair", "pairs")
_REPLIES = ("reply", "replies")
_PREFERENCES = ("preference", "preferences")


def _number(count: int, kind: tuple[str, str]) -> str:
    return f"{count:,} {kind[count != 1]}"


def _p(p: float) -> str:
    return f"p under {_LEAST_P}" if p < _LEAST_P else f"p = {round(p, PLACES):g}"
