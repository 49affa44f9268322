"""LLMFAO: models, prompts, pairs with their texts, and votes of a crowd and of two judges, each with what stood left.

Votes name models by what is shown, pairs by numbers: the list of models joins them. Ustalov 2023, llmfao.
"""

from collections.abc import Iterable, Iterator, Sequence

from app.domain.errors import BadInputError
from app.domain.imports.items import Item, Log, PairItem, PromptItem, ResponseItem, RowRefusedError, VerdictItem
from app.domain.imports.tables import Row, Table, by_kind, clean, has, name_of, text_of, users
from app.domain.terms import Choice, VoterKind

KINDS = {
    "training": has("prompt", "text", "model_x", "result_x", "model_y", "result_y", "golden"),
    "pairs": has("prompt", "text", "model_x", "result_x", "model_y", "result_y"),
    "votes": has("prompt", "model_x", "model_y", "winner", "left", "right"),
    "models": has("id", "api_id", "name"),
    "prompts": has("id", "text", "slug"),
}

_WINNERS = {"left": Choice.A, "right": Choice.B, "tie": Choice.TIE}


def read(tables: Sequence[Table], log: Log) -> Iterator[Item]:
    """All items of the files.

    Raises:
        BadInputError: there are pairs, and not the list that says what their models are called.
    """
    found, names = by_kind(tables, KINDS), dict[str, str]()
    if found["pairs"] and not found["models"]:
        raise BadInputError(
            f"{found['pairs'][0].name} names models by numbers. Give the file models.jsonl as well. "
            "Nothing was imported."
        )
    for table in found["models"]:
        for line, row in table.rows:
            try:
                names[name_of(row, "id")] = name_of(row, "name")
            except RowRefusedError as error:
                log.refuse(table.name, line, str(error))
    for table in found["training"]:
        log.note(table.name, 1, "pairs that workers were trained with are no part of the comparison; left aside")
    for table in found["prompts"]:
        yield from table.each(log, _prompt, "id")
    for table in found["pairs"]:
        yield from table.each(log, _pair, names)
    for table in found["votes"]:
        yield from table.each(log, _vote)


def _prompt(table: Table, line: int, row: Row, log: Log, key: str) -> Iterable[Item]:
    if not isinstance(row["text"], str) or not row["text"].strip():
        raise RowRefusedError("the prompt is no text")
    category = name_of({"type": row.get("type") or "imported"}, "type")
    yield PromptItem(name_of(row, key), users([clean(log, table, line, row["text"], "the prompt")]), category)


def _pair(table: Table, line: int, row: Row, log: Log, names: dict[str, str]) -> Iterable[Item]:
    two = []
    for side in ("x", "y"):
        number = name_of(row, f"model_{side}")
        if number not in names:
            raise RowRefusedError(f"no model has the number {number}")
        two.append((names[number], text_of(log, table, line, row[f"result_{side}"], f"the text of {names[number]}")))
    yield from _prompt(table, line, row, log, "prompt")
    key = name_of(row, "prompt")
    for name, text in two:
        yield ResponseItem(key, name, text)
    yield PairItem(key, two[0][0], two[1][0])


def _vote(table: Table, _line: int, row: Row, _log: Log) -> Iterable[Item]:
    try:
        choice = _WINNERS[row["winner"]]
    except (KeyError, TypeError) as error:
        raise RowRefusedError(f"the winner {row['winner']!r} is unknown; known are left, right, tie") from error
    left, right = name_of(row, "left"), name_of(row, "right")
    if left == right:
        raise RowRefusedError(f"{left} is compared with itself")
    judge = "worker" not in row
    voter = table.source.stem.partition("-")[0] if judge else f"worker {name_of(row, 'worker')}"
    kind = VoterKind.JUDGE if judge else VoterKind.RATER
    yield VerdictItem(name_of(row, "prompt"), left, right, voter, kind, choice, order_known=True)
