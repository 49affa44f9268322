"""Reading JSON Lines that people wrote: every problem is named with file and line."""

import codecs
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from app.domain.errors import BadInputError, BadRowError

_NO_TEXT = re.compile("[\\x00\\ud800-\\udfff]")
"""JSON can spell these, UTF-8 and Postgres cannot store them."""


@dataclass(frozen=True)
class NamedFile:
    """A file that somebody gave us, from a folder or through a browser; the name is for messages and lineage."""

    name: str
    content: bytes

    def __post_init__(self) -> None:
        """Leave out the byte order mark that some editors write.

        Raises:
            BadInputError: there is nothing in it.
        """
        object.__setattr__(self, "content", self.content.removeprefix(codecs.BOM_UTF8))
        if not self.content.strip():
            raise BadInputError(f"{self.name} is empty: one JSON object a line is needed.")

    @property
    def stem(self) -> str:
        """The name without its last ending."""
        return PurePath(self.name).stem


def read_file(path: Path) -> NamedFile:
    """A file of this machine.

    Raises:
        BadInputError: it cannot be read or has nothing in it.
    """
    try:
        return NamedFile(path.name, path.read_bytes())
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror}). Check the path.") from error


def read_bytes(path: Path) -> bytes:
    """The content of a file of this machine.

    Raises:
        BadInputError: it cannot be read or has nothing in it.
    """
    return read_file(path).content


def rows(content: bytes, source: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file with their line numbers from 1; blank lines are passed over.

    Raises:
        BadRowError: a line is not UTF-8, not JSON, or not an object.
    """
    for number, raw in enumerate(content.splitlines(), 1):
        if not raw.strip():
            continue
        try:
            row = json.loads(raw)
        except UnicodeDecodeError as error:
            raise BadRowError(source, number, "the line is not UTF-8 text") from error
        except json.JSONDecodeError as error:
            raise BadRowError(source, number, f"not valid JSON ({error.msg} at character {error.pos + 1})") from error
        except (ValueError, RecursionError) as error:  # a number or a nesting that no honest file has
            raise BadRowError(source, number, "not valid JSON (beyond what can be read)") from error
        if not isinstance(row, dict):
            raise BadRowError(source, number, "a JSON object { … } is needed")
        yield number, row


def text_field(row: dict[str, Any], key: str, source: str, line: int, *, longest: int | None = None) -> str:
    """A field that must be a text with something in it, of at most ``longest`` characters.

    Raises:
        BadRowError: it is missing, no text, blank, too long, or holds what is no character.
    """
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise BadRowError(source, line, f'"{key}" must be a text that is not empty')
    if longest is not None and len(value) > longest:
        raise BadRowError(source, line, f'"{key}" has {len(value)} characters; at most {longest} fit')
    if _NO_TEXT.search(value):
        raise BadRowError(source, line, f'"{key}" holds a null character or half of a surrogate pair')
    return value


def conversation(row: dict[str, Any], source: str, line: int) -> list[dict[str, str]]:
    """The ``messages`` of a row as role and content.

    Raises:
        BadRowError: no list, an unknown role, or a turn without content.
    """
    raw = row.get("messages")
    if not isinstance(raw, list) or not raw:
        raise BadRowError(source, line, '"messages" must be a list of turns')
    turns: list[dict[str, str]] = []
    for turn in raw:
        if not isinstance(turn, dict) or turn.get("role") not in ("system", "user", "assistant"):
            raise BadRowError(source, line, 'every turn needs a "role": system, user or assistant')
        turns.append({"role": turn["role"], "content": text_field(turn, "content", source, line)})
    first = next((turn["role"] for turn in turns if turn["role"] != "system"), "")
    if first != "user":
        raise BadRowError(source, line, "the first turn after the system's must be the user's")
    return turns


def sha256_of_json(value: object) -> str:
    """Hash of a value in its one canonical JSON form."""
    canonical = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
