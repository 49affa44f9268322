"""PandaLM: pairs with three annotators each, and replies of judges to the same pairs; in which order is not told.

Three vocabularies: 0, 1 and 2 as numbers; the same as texts; and "Tie". Every other label of a judge is a reply
without a choice. Some texts are JSON booleans. Wang et al. 2023, arXiv 2306.05087.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from app.domain.errors import BadInputError
from app.domain.imports.items import Item, Log, PairItem, PromptItem, RowRefusedError, VerdictItem
from app.domain.imports.places import Places
from app.domain.imports.tables import Row, Table, by_kind, clean, has, instruction_of, key_of, name_of, text_of, users
from app.domain.terms import Choice, VoterKind

_PAIRS = has("idx", "instruction", "response1", "response2")
_RESULT = "_result"
KINDS = {
    "pairs": _PAIRS,
    "judges": lambda row: "idx" in row and any(str(name).endswith(_RESULT) for name in row),
}

_LABELS = {"0": Choice.TIE, "Tie": Choice.TIE, "1": Choice.A, "2": Choice.B}


def read(tables: Sequence[Table], log: Log) -> Iterator[Item]:
    """All items of the files.

    Raises:
        BadInputError: there are replies of judges, and not the pairs that they are about.
    """
    found, places, pairs = by_kind(tables, KINDS), Places(), dict[str, PairItem]()
    if found["judges"] and not found["pairs"]:
        raise BadInputError(
            f"{found['judges'][0].name} holds replies about pairs by number. Give the file with the pairs as well. "
            "Nothing was imported."
        )
    for table in found["pairs"]:
        yield from table.each(log, _pair, places, pairs)
    for table in found["judges"]:
        yield from table.each(log, _replies, pairs)


def _pair(table: Table, line: int, row: Row, log: Log, places: Places, pairs: dict[str, PairItem]) -> Iterable[Item]:
    asked = instruction_of(log, table, line, row)
    index = name_of(row, "idx")
    if index in pairs:
        raise RowRefusedError(f"the number {index} stands for another pair already")
    a, separator, b = name_of({"cmp_key": row.get("cmp_key") or "response1_response2"}, "cmp_key").partition("_")
    if not separator or not a or not b or a == b:
        raise RowRefusedError(f"cmp_key {row['cmp_key']!r} does not name two models")
    choices = {
        name: _label(row[name]) for name in sorted(row) if str(name).startswith("annotator") and row[name] is not None
    }
    for name, choice in choices.items():
        if choice is None:
            raise RowRefusedError(f"the label {row[name]!r} of {name} is not 0, 1 or 2")
    texts = [text_of(log, table, line, row[field], field) for field in ("response1", "response2")]
    pairs[index], responses = places.place(key_of(asked), (a, texts[0]), (b, texts[1]), anew=True)
    yield PromptItem(key_of(asked), users([asked]))
    yield from responses
    yield pairs[index]
    for name, choice in choices.items():
        yield VerdictItem(*pairs[index][:3], name, VoterKind.RATER, choice, replicate=pairs[index].replicate)


def _replies(table: Table, line: int, row: Row, log: Log, pairs: dict[str, PairItem]) -> Iterable[Item]:
    pair = pairs.get(name_of(row, "idx"))
    if pair is None:
        raise RowRefusedError(f"no pair has the number {row['idx']}")
    for field in row:
        if not field.endswith(_RESULT):
            continue
        judge = field.removesuffix(_RESULT)
        choice, said = _label(row[field]), row.get(f"{judge}_reason")
        if choice is None:
            log.note(
                table.name, line, f"the label {row[field]!r} of {judge} is not 0, 1 or 2: a reply without a choice"
            )
        yield VerdictItem(
            *pair[:3], judge, VoterKind.JUDGE, choice, replicate=pair.replicate,
            said=clean(log, table, line, said, "the reason") if isinstance(said, str) else "",
        )  # fmt: skip


def _label(value: Any) -> Choice | None:
    return None if isinstance(value, bool) else _LABELS.get(str(value))
