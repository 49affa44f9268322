"""What the votes of one rater look like, and the rule fixed at launch by which raters are left out.

Nothing here knows which checkpoint a rater prefers. A rater is judged by pairs with a known better text, by pairs
shown twice, by the sides of the screen and by the clock; never by being of another opinion than the others.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from scipy.stats import binomtest

from app.domain.errors import BadInputError
from app.domain.intervals import Interval, clopper_pearson, wilson
from app.domain.tally import TIE
from app.domain.words import percent

FASTEST = 12.0
"""Words a second that nobody reads: three times a fast reader, so that who knows two of the three texts (the prompt and
a baseline read before) and reads the third is never called fast."""

LONGEST_READING = 360.0
"""Words at most that a vote is expected to take. Who stops early in a text of 30,000 words has seen enough to prefer
the other: after half a minute no vote is fast."""

_IDEOGRAPHS = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
_IDEOGRAPHS_PER_WORD = 2
_UNSPACED_PER_WORD = 5

_MOST_VOTES = 1000


def reading_words(text: str) -> float:
    """How long a text is to read, in words of a language that puts spaces between them.

    Two Chinese or Japanese characters are read like one word, five letters of Thai, Lao, Khmer or Burmese too.
    """
    ideographs = len(_IDEOGRAPHS.findall(text))
    unspaced = len(_UNSPACED.findall(text))
    spaced = _UNSPACED.sub(" ", _IDEOGRAPHS.sub(" ", text)) if ideographs or unspaced else text
    return len(spaced.split()) + ideographs / _IDEOGRAPHS_PER_WORD + unspaced / _UNSPACED_PER_WORD


def is_fast(seconds: float, words: float) -> bool:
    """Whether a vote came before anybody could have read so many words."""
    return seconds * FASTEST < min(words, LONGEST_READING)


@dataclass(frozen=True, slots=True)
class Marks:
    """Votes that are right, wrong, or ties on pairs of which something is known.

    A tie counts as half: who always ties has told as little as who tosses a coin.
    """

    right: int = 0
    wrong: int = 0
    ties: int = 0

    def __post_init__(self) -> None:
        if min(self.right, self.wrong, self.ties) < 0:
            raise ValueError(f"a count of votes cannot be negative: {self}")

    @property
    def n(self) -> int:
        """How many there are."""
        return self.right + self.wrong + self.ties

    @property
    def score(self) -> float:
        """How many are right, ties as halves."""
        return self.right + TIE * self.ties

    @property
    def share(self) -> float | None:
        """The share that is right, ``None`` without a vote."""
        return self.score / self.n if self.n else None

    @property
    def interval(self) -> Interval | None:
        """What the share could be with more votes."""
        return wilson(self.score / self.n, self.n) if self.n else None

    def __add__(self, other: "Marks") -> "Marks":
        return Marks(self.right + other.right, self.wrong + other.wrong, self.ties + other.ties)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is known of one rater in one eval batch. Votes taken back and late ones are in none of the counts."""

    votes: int = 0
    """Votes that count: on main pairs, without repeats."""
    gold_as_a: Marks = field(default_factory=Marks)
    """Votes on gold pairs while the better text was shown as A."""
    gold_as_b: Marks = field(default_factory=Marks)
    agreement: Marks = field(default_factory=Marks)
    """Pairs shown again in the other order: the same outcome is right, the opposite wrong, one tie of two a tie."""
    side_a: int = 0
    """Decisive votes on main and placebo pairs, by the side of the screen; the order of each was drawn."""
    side_b: int = 0
    no_side: int = 0
    """Ties on the same pairs, those called both bad among them."""
    both_bad: int = 0
    skips: int = 0
    timed: int = 0
    """Votes on main pairs that were new to the rater; only there the clock tells of reading."""
    fast: int = 0
    """Those of them that came before anybody could have read both texts and the prompt."""
    median_seconds: float | None = None

    @property
    def gold(self) -> Marks:
        """Votes on gold pairs in both orders."""
        return self.gold_as_a + self.gold_as_b

    @property
    def decisive(self) -> int:
        """Votes for a side of the screen."""
        return self.side_a + self.side_b

    @property
    def share_a(self) -> float | None:
        """The share of decisive votes for A."""
        return self.side_a / self.decisive if self.decisive else None

    @property
    def side_interval(self) -> Interval | None:
        """The exact interval of that share."""
        return clopper_pearson(self.side_a, self.decisive) if self.decisive else None

    @property
    def side_p(self) -> float | None:
        """How often a rater who does not look at sides would be at least as lopsided (exact binomial test)."""
        return float(binomtest(self.side_a, self.decisive).pvalue) if self.decisive else None

    @property
    def preferred_side(self) -> float | None:
        """The share of the side that was chosen more often."""
        return max(self.side_a, self.side_b) / self.decisive if self.decisive else None

    @property
    def fast_share(self) -> float | None:
        """The share of new pairs voted on faster than anybody can read."""
        return self.fast / self.timed if self.timed else None

    @property
    def fast_interval(self) -> Interval | None:
        """What that share could be with more votes."""
        return clopper_pearson(self.fast, self.timed) if self.timed else None

    @property
    def no_side_share(self) -> float | None:
        """The share of votes that prefer neither side."""
        shown = self.decisive + self.no_side
        return self.no_side / shown if shown else None


_SHARES = {
    "gold_min": (0.0, 1.0, "how many votes on gold pairs must be right"),
    "agreement_min": (0.0, 1.0, "how many pairs shown again must get the same outcome"),
    "fast_max": (0.0, 1.0, "how many votes may be faster than anybody can read"),
    "side_max": (0.5, 1.0, "how many votes may go to one side of the screen"),
}
_VOTES = {
    "gold_min": "gold_votes",
    "agreement_min": "agreement_votes",
    "fast_max": "fast_votes",
    "side_max": "side_votes",
}
RULE_PARTS = tuple(name for pair in _VOTES.items() for name in pair)
"""Everything that may be given as a rule."""


@dataclass(frozen=True, slots=True)
class ExclusionRule:
    """The rule by which raters are left out. A share that is ``None`` asks for nothing; empty, nobody is left out.

    Each part speaks only from so many votes on, ``…_votes``: of two gold pairs everybody gets one wrong some day.
    """

    gold_min: float | None = None
    gold_votes: int = 4
    agreement_min: float | None = None
    agreement_votes: int = 4
    fast_max: float | None = None
    fast_votes: int = 10
    side_max: float | None = None
    side_votes: int = 12

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """The rule in a plan; ``None`` is as good as absent.

        Raises:
            BadInputError: a name is unknown, a number out of its range, or a number of votes without its share.
        """
        values = {name: value for name, value in given.items() if value is not None}
        for name in values:
            if name not in RULE_PARTS:
                raise BadInputError(
                    f"The rule for leaving raters out has no part {name!r}. Its parts are {', '.join(RULE_PARTS)}."
                )
        kept: dict[str, Any] = {}
        for share, (low, high, what) in _SHARES.items():
            if share in values:
                kept[share] = _share(share, values[share], low, high, what)
            if _VOTES[share] in values:
                if share not in values:
                    raise BadInputError(
                        f"{_VOTES[share]} says from how many votes on the rule for leaving raters out speaks, and not "
                        f"what it asks for. Give {share} as well."
                    )
                kept[_VOTES[share]] = _count(_VOTES[share], values[_VOTES[share]])
        return cls(**kept)

    def as_dict(self) -> dict[str, float]:
        """What is stored with the plan: only the parts that ask for something, each with its number of votes."""
        asked = [share for share in _SHARES if getattr(self, share) is not None]
        return {name: getattr(self, name) for share in asked for name in (share, _VOTES[share])}

    @property
    def is_empty(self) -> bool:
        """Whether it leaves nobody out, whatever they do."""
        return not self.as_dict()

    @property
    def sentence(self) -> str:
        """The rule in plain words."""
        parts = []
        if self.gold_min is not None:
            parts.append(
                f"prefer the better text in less than {percent(self.gold_min)} of their votes on gold pairs "
                f"{_from(self.gold_votes)}"
            )
        if self.agreement_min is not None:
            parts.append(
                f"agree with themselves on less than {percent(self.agreement_min)} of the pairs shown again "
                f"{_from(self.agreement_votes)}"
            )
        if self.fast_max is not None:
            parts.append(
                f"vote faster than anybody can read on more than {percent(self.fast_max)} of the pairs "
                f"{_from(self.fast_votes)}"
            )
        if self.side_max is not None:
            parts.append(
                f"choose the same side of the screen in more than {percent(self.side_max)} of their votes for a side "
                f"{_from(self.side_votes)}"
            )
        if not parts:
            return "Nobody is left out."
        return f"Raters are left out who {', or who '.join(parts)}."

    def reasons(self, sheet: Sheet) -> tuple[str, ...]:
        """Why this rater is left out, a sentence for each part of the rule; empty: counts like everybody."""
        found = []
        gold, agreement = sheet.gold, sheet.agreement
        if self.gold_min is not None and _below(gold, self.gold_min, self.gold_votes):
            found.append(
                f"Preferred the better text in {in_halves(gold.score)} of {gold.n} votes on gold pairs; "
                f"the rule asks for {percent(self.gold_min)}."
            )
        if self.agreement_min is not None and _below(agreement, self.agreement_min, self.agreement_votes):
            found.append(
                f"Agreed with themselves on {in_halves(agreement.score)} of {agreement.n} pairs shown again; "
                f"the rule asks for {percent(self.agreement_min)}."
            )
        if self.fast_max is not None and sheet.timed >= self.fast_votes and (sheet.fast_share or 0) > self.fast_max:
            found.append(
                f"Voted faster than anybody can read on {sheet.fast} of {sheet.timed} pairs; "
                f"the rule allows {percent(self.fast_max)}."
            )
        lopsided = (sheet.preferred_side or 0) > (1 if self.side_max is None else self.side_max)
        if lopsided and sheet.decisive >= self.side_votes:
            side = "A" if sheet.side_a > sheet.side_b else "B"
            found.append(
                f"Chose side {side} in {max(sheet.side_a, sheet.side_b)} of {sheet.decisive} votes for a side; "
                f"the rule allows {percent(self.side_max or 1)}."
            )
        return tuple(found)


def _below(marks: Marks, least: float, votes: int) -> bool:
    return marks.n >= votes and marks.share is not None and marks.share < least


def _from(votes: int) -> str:
    return f"(from {votes} on)" if votes > 1 else "(from the first on)"


def in_halves(score: float) -> str:
    """A count with ties as halves: ``7``, ``3½``."""
    whole = math.floor(score)
    if score == whole:
        return str(whole)
    return f"{whole or ''}½"


def _share(name: str, value: Any, low: float, high: float, what: str) -> float:
    share = _number(value)
    if share is None or not low <= share <= high:
        raise BadInputError(
            f"The rule for leaving raters out is wrong: {name} says {what}, as a share from {low:g} to {high:g}, "
            f"and {value!r} is none."
        )
    return share


def _count(name: str, value: Any) -> int:
    votes = _number(value)
    if votes is None or not votes.is_integer() or not 1 <= votes <= _MOST_VOTES:
        raise BadInputError(
            f"The rule for leaving raters out is wrong: {name} says from how many votes on it speaks, a whole "
            f"number from 1 to {_MOST_VOTES}, and {value!r} is none."
        )
    return int(votes)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
