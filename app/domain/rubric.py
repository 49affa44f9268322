"""Rubrics: what a judge is told to look for. Files with a head of four lines, versioned and hashed.

A file begins with ``---``, names ``name``, ``version``, ``title`` and ``for`` (which prompts it fits), one a line, and
ends this head with ``---``; the rest is the text that the judge reads. A verdict belongs to the text it was given
under, so a rubric that is changed gets a new version: the hash shows when that was forgotten.
"""

import hashlib
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from app.domain.errors import BadInputError

LONGEST = 20_000
"""Characters of a rubric's text. It is sent with every call; the shipped ones have about 4,000."""

_KEYS = ("name", "version", "title", "for")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_MOST_LETTERS = 60


@dataclass(frozen=True)
class Rubric:
    """One version of a rubric."""

    name: str
    version: int
    title: str
    fits: str
    """Which prompts it is made for, in words."""
    text: str
    """What the judge reads."""
    sha256: str
    """Of the whole file, head and text, with ``\\n`` at the ends of lines."""

    @property
    def label(self) -> str:
        """``general v1``."""
        return f"{self.name} v{self.version}"


def parse_rubric(source: str, content: str) -> Rubric:
    """A rubric from what its file says; ``source`` names the file in messages.

    Raises:
        BadInputError: the head or the text cannot be used; says what to write.
    """
    content = content.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    lines = content.split("\n")
    end = lines.index("---", 1) if lines[0] == "---" and "---" in lines[1:] else 0
    if not end:
        raise BadInputError(
            f"The rubric {source} has no head: begin the file with a line ---, then {', '.join(_KEYS)} as "
            "'key: value', one a line, and another line ---."
        )
    head = _head(source, lines[1:end])
    text = "\n".join(lines[end + 1 :]).strip()
    if not text:
        raise BadInputError(f"The rubric {source} has a head and no text: write below it what a judge is to look for.")
    if len(text) > LONGEST:
        raise BadInputError(
            f"The rubric {source} has {len(text):,} characters; at most {LONGEST:,} are taken, since every call pays "
            "for them. Shorten it."
        )
    if "\x00" in text:
        raise BadInputError(f"The rubric {source} contains a NUL character; save it as plain text.")
    return Rubric(
        name=head["name"],
        version=_version(source, head["version"]),
        title=head["title"],
        fits=head["for"],
        text=text,
        sha256=hashlib.sha256(content.encode()).hexdigest(),
    )


def read_rubric(path: Path) -> Rubric:
    """The rubric in a file.

    Raises:
        BadInputError: it cannot be read or used.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"The rubric {path} cannot be read: {error}.") from error
    return parse_rubric(path.name, content)


def shipped_rubrics(folder: Path) -> tuple[Rubric, ...]:
    """All rubrics of a folder, by name and version.

    Raises:
        BadInputError: one cannot be used, or two have the same name and version.
    """
    rubrics = sorted((read_rubric(path) for path in folder.glob("*.md")), key=lambda one: (one.name, one.version))
    for one, other in pairwise(rubrics):
        if one.label == other.label:
            raise BadInputError(f"Two files in {folder} call themselves {one.label}: give one of them another version.")
    return tuple(rubrics)


def _head(source: str, lines: list[str]) -> dict[str, str]:
    head: dict[str, str] = {}
    for line in lines:
        key, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or key not in _KEYS:
            raise BadInputError(f"The rubric {source} has {line!r} in its head; known are {', '.join(_KEYS)}.")
        if key in head:
            raise BadInputError(f"The rubric {source} says {key} twice; keep one.")
        head[key] = value
    if missing := [key for key in _KEYS if not head.get(key)]:
        raise BadInputError(f"The rubric {source} does not say its {' and '.join(missing)}; add it to the head.")
    if not _NAME.fullmatch(head["name"]) or len(head["name"]) > _MOST_LETTERS:
        raise BadInputError(
            f"The rubric {source} is named {head['name']!r}; a name has small letters, digits and single hyphens, "
            f"at most {_MOST_LETTERS} of them."
        )
    return head


def _version(source: str, value: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,5}", value):
        raise BadInputError(f"The rubric {source} has the version {value!r}; versions are 1, 2, 3 and so on.")
    return int(value)
