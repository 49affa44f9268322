"""The arena's own export: JSON Lines in which each line says what it is. What is read here is written by the export.

The first line names the format; members follow in order, the baseline first, then prompt by prompt what was said.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from app.domain.errors import BadInputError
from app.domain.imports.items import (
    CheckpointItem,
    DesignItem,
    Item,
    JudgeItem,
    Log,
    PairItem,
    PromptItem,
    ResponseItem,
    RowRefusedError,
    VerdictItem,
)
from app.domain.imports.tables import NO_TEXT, Row, Table, by_kind, choice_of, has
from app.domain.terms import Choice, Design, Domain, ReasonTag, SwapMode, VoterKind

FORMAT = "brie-arena/1"
_LONGEST_KEY = 120
_MOST_REPLICATES = 10_000

KINDS = {"lines": has("type", "format", "design")}


def read(tables: Sequence[Table], log: Log) -> Iterator[Item]:
    """All items of the files.

    Raises:
        BadInputError: a file is of another version.
    """
    for table in by_kind(tables, KINDS)["lines"]:
        yield from table.each(log, _take)


def _take(_table: Table, _line: int, row: Row, _log: Log) -> Iterable[Item]:
    take = _LINES.get(row.get("type", ""))
    if take is None:
        raise RowRefusedError(f"the type {row.get('type')!r} is unknown; known are {', '.join(_LINES)}")
    try:
        return [take(row)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"a {row['type']} lacks {error}" if isinstance(error, KeyError) else f"not a {row['type']} ({error})"
        raise RowRefusedError(what) from error


def _batch(row: Row) -> Item:
    if row["format"] != FORMAT:
        raise BadInputError(f"The file has the format {row['format']!r}, not {FORMAT!r}. Nothing was imported.")
    return DesignItem(Design(row["design"]))


def _checkpoint(row: Row) -> Item:
    return CheckpointItem(_text(row, "name"))


def _judge(row: Row) -> Item:
    return JudgeItem(_text(row, "name"), SwapMode(row["mode"]))


def _prompt(row: Row) -> Item:
    if len(row["key"]) > _LONGEST_KEY:
        raise RowRefusedError(f"the key has {len(row['key'])} characters; at most {_LONGEST_KEY} fit")
    messages = tuple((_text(turn, "role"), _text(turn, "content")) for turn in row["messages"])
    return PromptItem(_text(row, "key"), messages, _text(row, "category"), Domain(row["domain"]))


def _response(row: Row) -> Item:
    text = None if row["text"] is None else _text(row, "text")
    return ResponseItem(_text(row, "prompt"), _text(row, "checkpoint"), text, _replicate(row))


def _pair(row: Row) -> Item:
    return PairItem(_text(row, "prompt"), *_two(row), _replicate(row))


def _verdict(row: Row) -> Item:
    kind = VoterKind(row["kind"])
    choice = None if row["choice"] is None else Choice(row["choice"])
    score = row.get("score")
    if kind is VoterKind.SCRIPT or ((choice is None or score is not None) and kind is not VoterKind.JUDGE):
        raise RowRefusedError("only a judge has a score, or a reply without a choice; scripts are not compared with")
    if score is not None and not 0 <= score <= 1:
        raise RowRefusedError(f"the score {score} is not between 0 and 1")
    if score is not None and choice is not choice_of(score):
        raise RowRefusedError(f"the score {score} and the choice {row['choice']} say different things")
    seconds = float(row.get("seconds", 0.0))
    if not (math.isfinite(seconds) and seconds >= 0):
        raise RowRefusedError(f"{seconds} are no seconds")
    cast_at = datetime.fromisoformat(row["cast_at"]) if "cast_at" in row else None
    if cast_at is not None and cast_at.tzinfo is None:
        raise RowRefusedError("the time has no time zone")
    return VerdictItem(
        _text(row, "prompt"), *_two(row), _text(row, "voter"), kind, choice,
        row["order_known"] is True, score, _text(row, "said") if "said" in row else "", _replicate(row), cast_at,
        seconds,
        row.get("simulated", False) is True, tuple(map(ReasonTag, sorted(set(row.get("tags", ()))))),
    )  # fmt: skip


def _two(row: Row) -> tuple[str, str]:
    a, b = _text(row, "a"), _text(row, "b")
    if a == b:
        raise RowRefusedError(f"{a} is compared with itself")
    return a, b


def _replicate(row: Row) -> int:
    replicate = row["replicate"]
    if not isinstance(replicate, int) or not 0 <= replicate < _MOST_REPLICATES:
        raise RowRefusedError(f"the replicate {replicate!r} is no number from 0 to {_MOST_REPLICATES - 1}")
    return int(replicate)


def _text(row: Any, field: str) -> str:
    value = row[field]
    if not isinstance(value, str):
        raise TypeError(f"{field} is no text")
    if NO_TEXT.search(value):
        raise ValueError(f"{field} holds a null character or half of a surrogate pair")
    return value


_LINES: dict[str, Callable[[Row], Item]] = {
    "batch": _batch,
    "checkpoint": _checkpoint,
    "judge": _judge,
    "prompt": _prompt,
    "response": _response,
    "pair": _pair,
    "verdict": _verdict,
}
