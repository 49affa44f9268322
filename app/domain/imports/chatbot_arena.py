"""Chatbot Arena: battles, with the conversations or without, and the CSV of the 55,000 with one column a winner.

What was shown as A stands in `model_a`, unless `order_known` is false, which our own files say. Without the texts, each
battle is a prompt of its own.
Chiang et al. 2024, arXiv 2403.04132.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from app.domain.imports.items import (
    NO_CATEGORY,
    PEOPLE,
    Item,
    Log,
    PromptItem,
    ResponseItem,
    RowRefusedError,
    VerdictItem,
)
from app.domain.imports.mt_bench import spoken
from app.domain.imports.tables import Row, Table, by_kind, conversation, has, name_of, text_of, users
from app.domain.terms import Choice, VoterKind

KINDS = {
    "csv": has("model_a", "model_b", "winner_model_a", "winner_model_b", "winner_tie"),
    "battles": has("model_a", "model_b", "winner"),
}

_WINNERS = {
    "model_a": Choice.A, "model_b": Choice.B, "tie": Choice.TIE, "tie (bothbad)": Choice.BOTH_BAD,
    "bothbad": Choice.BOTH_BAD, "both_bad": Choice.BOTH_BAD,
}  # fmt: skip
_LONG = 100
_FAR = 1e11
"""Seconds of a time that is none."""

_COLUMNS = {"winner_model_a": Choice.A, "winner_model_b": Choice.B, "winner_tie": Choice.TIE}


def read(tables: Sequence[Table], log: Log) -> Iterator[Item]:
    """All items of the files."""
    found = by_kind(tables, KINDS)
    for kind, take in (("battles", _battle), ("csv", _line)):
        for table in found[kind]:
            yield from table.each(log, take)


def _battle(table: Table, line: int, row: Row, log: Log) -> Iterable[Item]:
    try:
        choice = _WINNERS[row["winner"]]
    except (KeyError, TypeError) as error:
        raise RowRefusedError(
            f"the winner {row.get('winner')!r} is unknown; known are {', '.join(_WINNERS)}"
        ) from error
    a, b = _two(row)
    key = _key(table, line, row)
    items: list[Item] = []
    messages: tuple[tuple[str, str], ...] = ()
    for name, field in ((a, "conversation_a"), (b, "conversation_b")):
        turns = row.get(field)
        if isinstance(turns, list) and turns:
            messages, text = spoken(table, line, turns, log)
            items.append(ResponseItem(key, name, text))
    category = row.get("category") or row.get("language")
    items.insert(0, PromptItem(key, messages, category if isinstance(category, str) else NO_CATEGORY))
    items.append(_verdict(row, key, a, b, choice))
    return items


def _line(table: Table, line: int, row: Row, log: Log) -> Iterable[Item]:
    chosen = [choice for column, choice in _COLUMNS.items() if row[column] in ("1", 1)]
    others = [row[column] for column in _COLUMNS if row[column] not in ("0", "1", 0, 1)]
    if len(chosen) != 1 or others:
        raise RowRefusedError("not exactly one of winner_model_a, winner_model_b and winner_tie is 1")
    a, b = _two(row)
    key = _key(table, line, row)
    asked = _turns(table, line, row.get("prompt"), log, "the prompt")
    yield PromptItem(key, users(asked or ()))
    for name, field in ((a, "response_a"), (b, "response_b")):
        said = _turns(table, line, row.get(field), log, field)
        if said is not None:
            yield ResponseItem(key, name, conversation(said) if said else "")
    yield _verdict(row, key, a, b, chosen[0])


def _turns(table: Table, line: int, value: Any, log: Log, what: str) -> list[str] | None:
    """Texts of all turns; the file writes them as a JSON list, in which a turn may be null."""
    if value is None:
        return None
    try:
        turns = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        turns = [value]  # a plain text
    turns = turns if isinstance(turns, list) else [value]
    return [text_of(log, table, line, turn, what) for turn in turns]


def _two(row: Row) -> tuple[str, str]:
    a, b = row["model_a"], row["model_b"]
    if not (_is_plain(a) and _is_plain(b)):
        a, b = name_of(row, "model_a"), name_of(row, "model_b")
    if a == b:
        raise RowRefusedError(f"{a} is compared with itself")
    return a, b


def _key(table: Table, line: int, row: Row) -> str:
    key = row.get("question_id") or row.get("id")
    if key is None:
        return f"{table.source.stem[:60]}:{line}"
    return str(key) if _is_plain(key) else name_of({"id": key}, "id")


def _is_plain(name: Any) -> bool:
    """Whether it can be taken as it stands; what is not is looked at closely, which takes longer."""
    return type(name) is str and 0 < len(name) < _LONG and name.isprintable() and name == name.strip()


def _verdict(row: Row, key: str, a: str, b: str, choice: Choice) -> VerdictItem:
    voter = row.get("judge") or row.get("judge_hash") or PEOPLE
    voter = voter if _is_plain(voter) else name_of({"judge": voter}, "judge")
    stamp = row.get("tstamp")
    cast_at = None
    if isinstance(stamp, int | float) and 0 < stamp < _FAR:
        cast_at = datetime.fromtimestamp(stamp, UTC)
    kind = VoterKind.JUDGE if row.get("judge_kind") == VoterKind.JUDGE else VoterKind.RATER
    known = row.get("order_known", True) is True
    return VerdictItem(key, a, b, voter, kind, choice, known, None, "", 0, cast_at, 0.0)
