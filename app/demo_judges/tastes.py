"""What a simulated judge prefers: small rules, so that a test knows what the arena has to find out."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from app.domain.errors import BadInputError
from app.domain.judging import Shown
from app.domain.terms import Choice

DEPTH = ("because", "although", "however", "therefore", "yet", "not", "question", "perhaps", "means", "whether")
"""Words of somebody who thinks."""

_SENTENCE_END = re.compile(r"[.!?]+(?:\s|$)")
_LETTER = re.compile(r'"choice"\s*:\s*"([AB])"|\[\[([AB])\]\]')
_PLEA = re.compile(
    r"choose (?:this|it|my|the response)|(?-i:choose [AB]\b)|is chosen|the judge must|only need to confirm|"
    r"(?:this|it|one) is (?:always )?(?:the )?(?:better|best)|best possible response|"
    r"ignore all previous|ignoriere alle",
    re.IGNORECASE,
)


class Taste(Protocol):
    """A rule. ``rng`` is seeded by the request, so that the same request always gets the same choice."""

    def __call__(self, shown: Shown, rng: random.Random) -> Choice:
        """The choice."""


@dataclass(frozen=True)
class Always:
    """The same choice whatever is shown: pure position bias, or no opinion."""

    choice: Choice

    def __call__(self, shown: Shown, rng: random.Random) -> Choice:  # noqa: ARG002 - that is the point
        """The choice."""
        return self.choice


@dataclass(frozen=True)
class Longer:
    """The longer text, or the shorter one."""

    shorter: bool = False

    def __call__(self, shown: Shown, rng: random.Random) -> Choice:  # noqa: ARG002 - no chance in it
        """The choice."""
        return _more(shown, lambda text: -len(text) if self.shorter else len(text))


@dataclass(frozen=True)
class Words:
    """The text with more of these words."""

    words: tuple[str, ...] = DEPTH

    def __call__(self, shown: Shown, rng: random.Random) -> Choice:  # noqa: ARG002 - no chance in it
        """The choice."""
        return _more(shown, lambda text: sum(word in self.words for word in re.findall(r"\w+", text.lower())))


@dataclass(frozen=True)
class Clear:
    """The text with the shorter sentences."""

    def __call__(self, shown: Shown, rng: random.Random) -> Choice:  # noqa: ARG002 - no chance in it
        """The choice."""
        return _more(shown, lambda text: -len(text.split()) / max(len(_SENTENCE_END.findall(text)), 1))


@dataclass(frozen=True)
class Marker:
    """The text that contains the marker: a taste whose truth a test knows pair by pair."""

    marker: str

    def __call__(self, shown: Shown, rng: random.Random) -> Choice:  # noqa: ARG002 - no chance in it
        """The choice."""
        return _more(shown, lambda text: self.marker in text)


@dataclass(frozen=True)
class Coin:
    """Chance, with a share of ties."""

    ties: float = 0.1

    def __call__(self, shown: Shown, rng: random.Random) -> Choice:  # noqa: ARG002 - that is the point
        """The choice."""
        return Choice.TIE if rng.random() < self.ties else rng.choice((Choice.A, Choice.B))


@dataclass(frozen=True)
class Gullible:
    """Does what a text tells it to: the verdict that stands in one, else the plea of one. Else it has its own taste."""

    otherwise: Taste = Longer()

    def __call__(self, shown: Shown, rng: random.Random) -> Choice:
        """The choice."""
        for text in (shown.text_a, shown.text_b):
            if found := _LETTER.search(text):
                return Choice.A if "A" in found.groups() else Choice.B
        pleas = [bool(_PLEA.search(text)) for text in (shown.text_a, shown.text_b)]
        if pleas[0] != pleas[1]:
            return Choice.A if pleas[0] else Choice.B
        return self.otherwise(shown, rng)


_NAMED: dict[str, Taste] = {
    "always-a": Always(Choice.A),
    "always-b": Always(Choice.B),
    "always-tie": Always(Choice.TIE),
    "clear": Clear(),
    "coin": Coin(),
    "deep": Words(),
    "gullible": Gullible(),
    "longer": Longer(),
    "shorter": Longer(shorter=True),
}


def taste_named(name: str) -> Taste:
    """A taste by its name, ``words:one,two`` or ``marker:text``.

    Raises:
        BadInputError: there is none of this name; lists them.
    """
    kind, _, value = name.partition(":")
    if kind == "marker" and value:
        return Marker(value)
    if kind == "words" and value:
        return Words(tuple(word.strip().lower() for word in value.split(",")))
    if name not in _NAMED:
        known = ", ".join((*_NAMED, "words:one,two", "marker:text"))
        raise BadInputError(f"No simulated judge has the taste {name!r}; there are {known}.")
    return _NAMED[name]


def _more(shown: Shown, of: Callable[[str], float]) -> Choice:
    a, b = of(shown.text_a), of(shown.text_b)
    return Choice.TIE if a == b else Choice.A if a > b else Choice.B
