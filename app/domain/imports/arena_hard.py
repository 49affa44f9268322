"""Arena-Hard: questions, model answers, and judgments: two games each, in the first of which the baseline is A.

A label says how strongly (`A>>B`); it stays in the reply, and the choice is what it prefers. Li et al. 2024,
arXiv 2406.11939.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from app.domain.imports.items import NO_CATEGORY, Item, Log, PromptItem, ResponseItem, RowRefusedError, VerdictItem
from app.domain.imports.tables import Row, Table, by_kind, clean, conversation, has, name_of, text_of, users
from app.domain.terms import Choice, VoterKind

_ID = ("uid", "question_id")


def _either(*fields: str) -> Any:
    wanted = has(*fields)
    return lambda row: wanted(row) and any(name in row for name in _ID)


_MESSAGES, _CHOICES, _PROMPT, _TURNS = (
    _either("model", "messages"), _either("model_id", "choices"), _either("prompt"), _either("turns"),
)  # fmt: skip
KINDS = {
    "judgments": _either("games", "model"),
    "answers": lambda row: _MESSAGES(row) or _CHOICES(row),
    "questions": lambda row: _PROMPT(row) or _TURNS(row),
}

_LABELS = {
    "A>>B": Choice.A, "A>B": Choice.A, "A=B": Choice.TIE, "B=A": Choice.TIE, "B>A": Choice.B, "B>>A": Choice.B,
    "A<<B": Choice.B, "A<B": Choice.B, "B<A": Choice.A, "B<<A": Choice.A,
}  # fmt: skip
_BASELINES = {"hard_prompt": "o3-mini-2025-01-31", "creative_writing": "gemini-2.0-flash-001"}
_FIRST_BASELINE = "gpt-4-0314"
"""Of the first version, whose judgments name neither baseline nor category."""


def read(tables: Sequence[Table], log: Log) -> Iterator[Item]:
    """All items of the files."""
    found = by_kind(tables, KINDS)
    for kind, take in (("questions", _question), ("answers", _answer), ("judgments", _judgment)):
        for table in found[kind]:
            yield from table.each(log, take)


def _question(table: Table, line: int, row: Row, log: Log) -> Iterable[Item]:
    turns = [row["prompt"]] if "prompt" in row else row["turns"]
    if not isinstance(turns, list) or not turns:
        raise RowRefusedError("the turns are no list")
    texts = [turn.get("content") if isinstance(turn, dict) else turn for turn in turns]
    category = row.get("category")
    yield PromptItem(
        name_of(row, *_ID), users(text_of(log, table, line, text, "the prompt") for text in texts),
        category if isinstance(category, str) and category else NO_CATEGORY,
    )  # fmt: skip


def _answer(table: Table, line: int, row: Row, log: Log) -> Iterable[Item]:
    try:
        if "messages" in row:
            said = [turn["content"] for turn in row["messages"] if turn["role"] == "assistant"]
        else:
            said = [turn["content"] if isinstance(turn, dict) else turn for turn in row["choices"][0]["turns"]]
    except (LookupError, TypeError) as error:
        raise RowRefusedError("it holds no turn of an assistant") from error
    texts = [turn.get("answer") if isinstance(turn, dict) else turn for turn in said]
    if not texts:
        raise RowRefusedError("it holds no turn of an assistant")
    text = conversation([text_of(log, table, line, text, "the response") for text in texts])
    yield ResponseItem(name_of(row, *_ID), name_of(row, "model", "model_id"), text)


def _judgment(table: Table, line: int, row: Row, log: Log) -> Iterable[Item]:
    games, model = row["games"], name_of(row, "model")
    if not isinstance(games, list) or len(games) not in (1, 2):
        raise RowRefusedError("the games are not a list of one or two")
    baseline = name_of(
        {"baseline": row.get("baseline") or _BASELINES.get(row.get("category", ""), _FIRST_BASELINE)}, "baseline"
    )
    if model == baseline:
        raise RowRefusedError(f"{model} is compared with itself")
    judge = name_of({"judge": row.get("judge"), "folder": table.source.folder}, "judge", "folder")
    key = name_of(row, *_ID)
    found = [_game(table, line, game, log) for game in games]
    for (a, b), (choice, said) in zip(((baseline, model), (model, baseline)), found, strict=False):
        yield VerdictItem(key, a, b, judge, VoterKind.JUDGE, choice, order_known=True, said=said)


def _game(table: Table, line: int, game: Any, log: Log) -> tuple[Choice | None, str]:
    if game is None:
        return None, ""
    if not isinstance(game, dict):
        raise RowRefusedError("a game is no object")
    label, said = game.get("score"), game.get("judgment")
    if isinstance(said, dict):
        said = said.get("answer") or json.dumps(said, ensure_ascii=False)
    if label is not None and label not in _LABELS:
        raise RowRefusedError(f"the score {label!r} is unknown; known are {', '.join(_LABELS)}")
    words = said if isinstance(said, str) and said.strip() else label or ""
    return (_LABELS[label] if label else None), clean(log, table, line, words, "the reply")
