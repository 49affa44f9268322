"""Files as rows: JSON Lines, JSON lists and CSV, told apart by how they begin, each row with its line number."""

import codecs
import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import PurePath
from typing import Any

from app.domain.errors import BadInputError
from app.domain.imports.items import Item, Log, RowRefusedError
from app.domain.tally import TIE
from app.domain.terms import Choice

NO_TEXT = re.compile("[\\x00\\ud800-\\udfff]")
"""JSON can spell these; UTF-8 and Postgres cannot store them."""

_LONGEST_NAME = 100
_BAD = "\N{REPLACEMENT CHARACTER}"

csv.field_size_limit(2**27)  # the longest responses are far beyond the library's 128 KiB

Row = dict[str, Any]
Kind = Callable[[frozenset[str]], bool]
"""Whether rows with these fields are of this kind."""


@dataclass(frozen=True)
class Source:
    """A file: its last folder and name, for messages, and its lines."""

    name: str
    lines: Iterable[bytes]

    @property
    def stem(self) -> str:
        """The name without folder and endings."""
        return PurePath(self.name).name.partition(".")[0]

    @property
    def folder(self) -> str:
        """The last folder."""
        return PurePath(self.name).parent.name


@dataclass(frozen=True)
class Table:
    """The rows of a file, and what its first row has."""

    source: Source
    fields: frozenset[str]
    rows: Iterator[tuple[int, Row]]

    @property
    def name(self) -> str:
        """For messages."""
        return self.source.name

    def each(self, log: Log, take: Callable[..., Iterable[Item]], *more: Any) -> Iterator[Item]:
        """What ``take(table, line, row, log, *more)`` makes of each row; one that it refuses is told and left out."""
        for line, row in self.rows:
            log.read += 1
            log.at = (self.name, line)
            try:
                yield from take(self, line, row, log, *more)
            except RowRefusedError as error:
                log.refuse(self.name, line, str(error))
            except (TypeError, ValueError, LookupError, AttributeError) as error:  # values of kinds that nobody foresaw
                log.refuse(self.name, line, f"not shaped like the other rows ({type(error).__name__}: {error})")


def open_table(source: Source, log: Log) -> Table:
    """Look at the beginning of a file.

    Raises:
        BadInputError: it is empty, no UTF-8 text, or no row of it can be read.
    """
    rows = _rows(source, log)
    first = next(rows, None)
    if first is None:
        raise BadInputError(f"{source.name} holds no row that can be read. Nothing was imported.")
    return Table(source, frozenset(first[1]), chain([first], rows))


def _rows(source: Source, log: Log) -> Iterator[tuple[int, Row]]:
    lines = iter(source.lines)
    blank = 0
    for line in lines:
        head = line.removeprefix(codecs.BOM_UTF8) if not blank else line
        if head.strip():
            rest = chain([head], lines)
            break
        blank += 1
    else:
        return
    begins = head.lstrip()[:1]
    if begins == b"[":
        yield from _json_list(source, rest, blank)
    elif begins == b"{":
        yield from _json_lines(source, rest, blank, log)
    else:
        yield from _csv(source, rest, blank, log)


def _json_lines(source: Source, lines: Iterable[bytes], before: int, log: Log) -> Iterator[tuple[int, Row]]:
    decode = json.JSONDecoder().decode
    for number, raw in enumerate(lines, before + 1):
        if not raw.strip():
            continue
        try:
            row = decode(raw.decode())
        except UnicodeDecodeError:
            log.refuse(source.name, number, "the line is not UTF-8 text")
        except (ValueError, RecursionError) as error:
            log.refuse(source.name, number, f"not valid JSON ({str(error)[:200]})")
        else:
            if isinstance(row, dict):
                yield number, row
            else:
                log.refuse(source.name, number, "a JSON object { … } is needed")


def _json_list(source: Source, lines: Iterable[bytes], before: int) -> Iterator[tuple[int, Row]]:
    """The objects of a list, one decoded at a time; each has the line on which it begins."""
    try:
        text = b"".join(lines).decode()
    except UnicodeDecodeError as error:
        raise BadInputError(f"{source.name} is not UTF-8 text. Nothing was imported.") from error
    decode, skip = json.JSONDecoder().raw_decode, re.compile(r"[\s,]*")
    place, line, counted = text.index("[") + 1, before + 1, 0
    while True:
        if between := skip.match(text, place):
            place = between.end()
        if text[place : place + 1] in ("]", ""):
            return
        line, counted = line + text.count("\n", counted, place), place
        try:
            row, place = decode(text, place)
        except (ValueError, RecursionError) as error:
            raise BadInputError(
                f"{source.name}, line {line}: not valid JSON ({str(error)[:200]}). Nothing was imported."
            ) from error
        if isinstance(row, dict):
            yield line, row


def _csv(source: Source, lines: Iterable[bytes], before: int, log: Log) -> Iterator[tuple[int, Row]]:
    def text() -> Iterator[str]:
        for number, raw in enumerate(lines, before + 1):
            try:
                yield raw.decode().replace("\0", _BAD)
            except UnicodeDecodeError:
                log.note(source.name, number, "the line is not UTF-8 text; what is none became U+FFFD")
                yield raw.decode(errors="replace").replace("\0", _BAD)

    reader = csv.DictReader(text())
    while True:
        begins = reader.line_num + before + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            log.refuse(source.name, begins, f"not valid CSV ({error})")
            continue
        if row is None:
            return
        row = {name: value for name, value in row.items() if name is not None}  # values beyond the columns
        yield begins if begins > before + 1 else before + 2, row


def by_kind(tables: Iterable[Table], kinds: Mapping[str, Kind]) -> dict[str, list[Table]]:
    """Tables by what they hold; one that fits several is the first of them.

    Raises:
        BadInputError: a table fits none.
    """
    found: dict[str, list[Table]] = {kind: [] for kind in kinds}
    for table in tables:
        kind = next((kind for kind, fits in kinds.items() if fits(table.fields)), None)
        if kind is None:
            raise UnknownTableError(table)
        found[kind].append(table)
    return found


class UnknownTableError(BadInputError):
    """The rows of a file are not what the format has."""

    def __init__(self, table: Table) -> None:
        shown = ", ".join(sorted(map(str, table.fields))[:12])
        super().__init__(f"{table.name} has the fields {shown}.")
        self.table = table


def has(*fields: str) -> Kind:
    """Whether a row has all of these."""
    wanted = frozenset(fields)
    return wanted.issubset


def text_of(log: Log, table: Table, line: int, value: Any, what: str) -> str:
    """A text as it can be stored. What is none, or empty, is told, and taken: the votes on it are real."""
    if not isinstance(value, str):
        log.note(table.name, line, f"{what} is {json.dumps(value)[:80]}, not a text; it was taken as one")
        value = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if not value.strip():
        log.note(table.name, line, f"{what} is empty; what was voted stands")
    return clean(log, table, line, value, what)


def instruction_of(log: Log, table: Table, line: int, row: Row) -> str:
    """An instruction with its input below it, where both are texts; one of them may be blank.

    Raises:
        RowRefusedError: there is no text.
    """
    parts = (row.get("instruction") or "", row.get("input") or "")
    said = [part for part in parts if isinstance(part, str) and part.strip()]
    if not said or not all(isinstance(part, str) for part in parts):
        raise RowRefusedError("the instruction is no text")
    return clean(log, table, line, "\n\n".join(said), "the instruction")


def clean(log: Log, table: Table, line: int, value: str, what: str) -> str:
    """The same text without characters that cannot be stored."""
    if NO_TEXT.search(value):
        log.note(table.name, line, f"{what} holds null characters or halves of surrogate pairs; they became U+FFFD")
        value = NO_TEXT.sub(_BAD, value)
    return value


def words_of(log: Log, table: Table, line: int, value: Any) -> str:
    """The words of a voter; what is no text says nothing."""
    return clean(log, table, line, value, "what was said") if isinstance(value, str) else ""


def name_of(row: Row, *fields: str, otherwise: str = "") -> str:
    """A name: the first of these fields that is there, or ``otherwise``.

    Raises:
        RowRefusedError: none is, or it can be no name.
    """
    for field in fields:
        value = row.get(field)
        if value is None or isinstance(value, bool) or not isinstance(value, str | int):
            continue
        if name := _stripped(str(value)):
            if len(name) > _LONGEST_NAME:
                raise RowRefusedError(f'"{field}" has {len(name)} characters; a name has at most {_LONGEST_NAME}')
            return name
    if otherwise:
        return otherwise
    raise RowRefusedError(f"no {' or '.join(repr(field) for field in fields)} is given")


@lru_cache(maxsize=10_000)
def _stripped(name: str) -> str:
    """A name without space around it, as it can be stored. The same few come again in every row."""
    return NO_TEXT.sub(_BAD, name.strip())


def key_of(*parts: str) -> str:
    """A key for a prompt that has none: the same words, the same key."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def choice_of(score: float) -> Choice:
    """The choice that a weight stands for: how far B is preferred, in [0, 1]."""
    return Choice.TIE if score == TIE else Choice.B if score > TIE else Choice.A


def conversation(turns: Sequence[str]) -> str:
    """Several texts of one checkpoint as one text: a single one as it is, more with numbers."""
    if len(turns) == 1:
        return turns[0]
    return "\n\n".join(f"[{number}] {turn}" for number, turn in enumerate(turns, 1))


def users(turns: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Turns of the user as messages."""
    return tuple(("user", turn) for turn in turns)
