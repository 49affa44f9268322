"""Plain rows, one comparison or verdict each, as JSON Lines, JSON or CSV: the shape that people and scripts write.

Names of fields are the arena's; those that other tools use for the same are understood as well.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from app.domain.imports.items import (
    NO_CATEGORY,
    PEOPLE,
    Item,
    Log,
    PromptItem,
    RowRefusedError,
    VerdictItem,
)
from app.domain.imports.places import Places
from app.domain.imports.tables import Row, Table, by_kind, choice_of, clean, key_of, name_of, text_of, users
from app.domain.terms import Choice, Domain, VoterKind

_A = ("checkpoint_a", "model_a", "left", "a")
_B = ("checkpoint_b", "model_b", "right", "b")
_PROMPT = ("prompt", "instruction", "question")
_KEY = ("prompt_id", "key", "question_id", "id")
_TEXT_A = ("response_a", "text_a", "output_a")
_TEXT_B = ("response_b", "text_b", "output_b")
_WINNER = ("winner", "choice")
_VOTERS = ("voter", "rater", "worker", "annotator", "judge")


def _is_plain(fields: frozenset[str]) -> bool:
    return any(name in fields for name in _A) and any(name in fields for name in _B)


KINDS = {"rows": _is_plain}

_CHOICES = {
    "a": Choice.A, "A": Choice.A, "left": Choice.A, "model_a": Choice.A, "checkpoint_a": Choice.A,
    "b": Choice.B, "B": Choice.B, "right": Choice.B, "model_b": Choice.B, "checkpoint_b": Choice.B,
    "tie": Choice.TIE, "both_bad": Choice.BOTH_BAD,
}  # fmt: skip
_UNPARSED = "unparsed"
_TRUE, _FALSE = ("true", "True", "1", True, 1), ("false", "False", "0", "", False, 0, None)


def read(tables: Sequence[Table], log: Log) -> Iterator[Item]:
    """All items of the files."""
    places = Places()
    for table in by_kind(tables, KINDS)["rows"]:
        yield from table.each(log, _row, places)


def _row(table: Table, line: int, row: Row, log: Log, places: Places) -> Iterable[Item]:
    a, b = name_of(row, *_A), name_of(row, *_B)
    if a == b:
        raise RowRefusedError(f"{a} is compared with itself")
    kind, voter = _voter(row)
    choice, voted = _choice(row, a, b, kind)
    score = _score(row, kind)
    if score is not None:
        choice, voted = choice_of(score), True
        score = None if score in (0, 0.5, 1) else score
    known, cast_at, seconds = _truth(row, "order_known"), _moment(row), _number(row, "seconds") or 0.0
    prompt = _prompt(table, line, row, log)
    texts = [_text(table, line, row, log, fields) for fields in (_TEXT_A, _TEXT_B)]
    pair, responses = places.place(prompt.key, (a, texts[0]), (b, texts[1]))
    yield prompt
    yield from responses
    if not voted:
        yield pair
        return
    said = "\n\n".join(str(row[name]) for name in ("reason", "reply") if isinstance(row.get(name), str) and row[name])
    yield VerdictItem(
        prompt.key, a, b, voter, kind, choice, order_known=known, score=score, replicate=pair.replicate,
        said=clean(log, table, line, said, "the reason"), cast_at=cast_at, seconds=seconds
    )  # fmt: skip


def _voter(row: Row) -> tuple[VoterKind, str]:
    """Who voted. A field "judge" makes it a judge, unless "kind" says otherwise."""
    given = row.get("kind") or (VoterKind.JUDGE if row.get("judge") else VoterKind.RATER)
    if given not in (VoterKind.RATER, VoterKind.JUDGE):
        raise RowRefusedError(f"the kind {given!r} is not rater or judge")
    return VoterKind(given), name_of(row, *_VOTERS, otherwise=PEOPLE)


def _choice(row: Row, a: str, b: str, kind: VoterKind) -> tuple[Choice | None, bool]:
    """The choice, and whether there is a verdict at all: a row without a winner is a pair that waits for one."""
    value = next((row[name] for name in _WINNER if row.get(name) not in (None, "")), None)
    if value is None:
        return None, False
    if value == _UNPARSED and kind is VoterKind.JUDGE:
        return None, True
    named = {a: Choice.A, b: Choice.B}
    choice = named.get(value) or _CHOICES.get(value) if isinstance(value, str) else None
    if choice is None:
        raise RowRefusedError(f"the winner {value!r} is unknown; known are a, b, tie, both_bad and the two names")
    return choice, True


def _score(row: Row, kind: VoterKind) -> float | None:
    score = _number(row, "score")
    if score is None:
        return None
    if not 0 <= score <= 1:
        raise RowRefusedError(f"the score {score} is not between 0 and 1")
    if kind is not VoterKind.JUDGE and score not in (0, 0.5, 1):
        raise RowRefusedError(f"the score {score} of a person is not 0, 0.5 or 1; only judges give weights")
    return score


def _prompt(table: Table, line: int, row: Row, log: Log) -> PromptItem:
    asked = next((row[name] for name in _PROMPT if isinstance(row.get(name), str) and row[name].strip()), None)
    text = None if asked is None else clean(log, table, line, asked, "the prompt")
    try:
        key = name_of(row, *_KEY)
    except RowRefusedError:
        key = f"{table.source.stem[:60]}:{line}" if text is None else key_of(text)
    domain = row.get("domain") or None
    if domain is not None and domain not in list(Domain):
        raise RowRefusedError(f"the domain {domain!r} is not {' or '.join(Domain)}")
    category = row.get("category") or NO_CATEGORY
    return PromptItem(key, users([text] if text else ()), str(category), Domain(domain) if domain else None)


def _text(table: Table, line: int, row: Row, log: Log, fields: Sequence[str]) -> str | None:
    name = next((name for name in fields if name in row), None)
    return None if name is None else text_of(log, table, line, row[name], name)


def _truth(row: Row, field: str) -> bool:
    value = row.get(field)
    if isinstance(value, dict | list) or value not in (*_TRUE, *_FALSE):
        raise RowRefusedError(f'"{field}" is {value!r}, not true or false')
    return value in _TRUE


def _number(row: Row, field: str) -> float | None:
    value = row.get(field)
    if value in (None, ""):
        return None
    try:
        return float(str(value))
    except (TypeError, ValueError) as error:
        raise RowRefusedError(f'"{field}" is {value!r}, not a number') from error


def _moment(row: Row) -> datetime | None:
    value: Any = row.get("cast_at")
    if value in (None, ""):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise RowRefusedError(f'"cast_at" is {value!r}, not a time such as 2026-01-31T12:00:00+00:00') from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
