"""AlpacaEval: outputs (`instruction`, `output`, `generator`) and annotations, which hold both texts and a preference.

A preference is 1 for the first output, 2 for the second, 1.5 (once 0) for a tie; weighted annotators write anything
between, which is kept as a score. Which output the annotator saw first is not told. Dubois et al. 2024,
arXiv 2404.04475.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from app.domain.imports.items import NO_CATEGORY, Item, Log, PromptItem, ResponseItem, RowRefusedError, VerdictItem
from app.domain.imports.places import Places
from app.domain.imports.tables import Row, Table, by_kind, clean, has, instruction_of, key_of, name_of, text_of, users
from app.domain.terms import Choice, VoterKind

KINDS = {
    "annotations": has("instruction", "output_1", "output_2", "preference"),
    "outputs": has("instruction", "output", "generator"),
}

_OLD_TIE, _FIRST, _TIE, _SECOND = 0, 1, 1.5, 2


def read(tables: Sequence[Table], log: Log) -> Iterator[Item]:
    """All items of the files."""
    found, places = by_kind(tables, KINDS), Places()
    for table in found["outputs"]:
        yield from table.each(log, _output)
    for table in found["annotations"]:
        yield from table.each(log, _annotation, places)


def _prompt(table: Table, line: int, row: Row, log: Log) -> PromptItem:
    text = instruction_of(log, table, line, row)
    category = row.get("dataset")
    return PromptItem(key_of(text), users([text]), category if isinstance(category, str) and category else NO_CATEGORY)


def _output(table: Table, line: int, row: Row, log: Log) -> Iterable[Item]:
    prompt = _prompt(table, line, row, log)
    yield prompt
    yield ResponseItem(prompt.key, name_of(row, "generator"), text_of(log, table, line, row["output"], "the output"))


def _annotation(table: Table, line: int, row: Row, log: Log, places: Places) -> Iterable[Item]:
    prompt = _prompt(table, line, row, log)
    one, other = (
        (name_of({**row, "or": f"output_{n}"}, f"generator_{n}", "or"),
         text_of(log, table, line, row[f"output_{n}"], f"output {n}"))
        for n in (1, 2)
    )  # fmt: skip
    if one[0] == other[0]:
        raise RowRefusedError(f"{one[0]} is compared with itself")
    who = row.get("annotator", "annotator")
    person = isinstance(who, int)
    choice, score = _preference(row["preference"], person=person)
    pair, responses = places.place(prompt.key, one, other)
    yield prompt
    yield from responses
    yield VerdictItem(
        prompt.key, one[0], other[0], f"annotator {who}" if person else name_of({"annotator": who}, "annotator"),
        VoterKind.RATER if person else VoterKind.JUDGE, choice, score=score, said=_raw(table, line, row, log),
        replicate=pair.replicate,
    )  # fmt: skip


def _preference(value: Any, *, person: bool) -> tuple[Choice | None, float | None]:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        if person:
            raise RowRefusedError("the preference of a person is missing")
        return None, None
    if isinstance(value, str | bool) or not isinstance(value, int | float):
        raise RowRefusedError(f"the preference {json.dumps(value)[:40]} is no number")
    if value in (_OLD_TIE, _TIE):
        return Choice.TIE, None
    if value in (_FIRST, _SECOND):
        return (Choice.A if value == _FIRST else Choice.B), None
    if not _FIRST < value < _SECOND or person:
        raise RowRefusedError(f"the preference {value} is not 1, 1.5 or 2" + ("" if person else ", nor between them"))
    return (Choice.A if value < _TIE else Choice.B), value - _FIRST


def _raw(table: Table, line: int, row: Row, log: Log) -> str:
    raw = row.get("raw_completion")
    if raw is None:
        return ""
    return clean(log, table, line, raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False), "the reply")
