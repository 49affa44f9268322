"""Names: of people, and those that also become folder names or parts of commands."""

import re
import unicodedata

from app.domain.errors import BadInputError

SAMPLE = "sample"
"""First part of the names of what ships with the arena: ``sample/epoch-1``, ``sample-brie-in-domain``."""

GOLD = "brie-gold"
CANARY = "brie-canary"
CONTROLS = (GOLD, CANARY)
"""Suites of control pairs. Nothing is compared on them, so no list and no form offers them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

LONGEST_PERSON = 80
_UNSEEN = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Format characters that words and signs need; the others turn the direction of a line or cannot be seen at all."""


def line_of_text(text: str, what: str, longest: int) -> str:
    """One line as somebody typed it, with single spaces and none around it.

    Raises:
        BadInputError: it is too long or holds characters that cannot be seen.
    """
    line = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text).strip())
    if len(line) > longest:
        raise BadInputError(f"A {what} has up to {longest} characters. Nothing was stored; make it shorter.")
    if any(_cannot_be_seen(character) for character in line):
        raise BadInputError(f"This {what} holds control characters. Nothing was stored; type it anew.")
    return line


def _cannot_be_seen(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind in _UNSEEN or (kind == "Cf" and character not in _JOINERS)


def person_name(text: str) -> str:
    """The name of a person: 1 to 80 characters, of which one at least can be seen.

    Raises:
        BadInputError: it is none.
    """
    name = line_of_text(text, "name", LONGEST_PERSON)
    if not any(unicodedata.category(character)[0] in "LNPS" for character in name):
        raise BadInputError("A name is needed. Nothing was stored; any name will do.")
    return name


def check_name(name: str, what: str) -> str:
    """The name itself, when it is safe as a folder name on every system.

    Raises:
        BadInputError: it is not; says what is allowed.
    """
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise BadInputError(
            f"{name!r} cannot be the name of a {what}: use up to 100 letters, digits, dots, dashes and underscores, "
            "beginning with a letter or digit."
        )
    if name == SAMPLE:  # the checkpoints of such a run would be called like the sample study's
        raise BadInputError(f"{name!r} is kept for the sample study. Choose another name for this {what}.")
    return name
