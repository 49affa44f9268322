"""MT-bench: questions, model answers, pair judgments in both orders, and votes of people.

A judgment of turn 2 has read both turns, so the turn is part of the prompt. Judgments come as FastChat writes them
(`g1_winner`, `g2_winner`, which name the model) or as positions (`winner_ab`, `winner_ba`: A or B of what was shown).
Zheng et al. 2023, arXiv 2306.05685.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from app.domain.imports.items import Item, Log, PromptItem, ResponseItem, RowRefusedError, VerdictItem
from app.domain.imports.tables import Row, Table, by_kind, clean, conversation, has, name_of, text_of, users, words_of
from app.domain.terms import Choice, VoterKind

KINDS = {
    "positions": has("question_id", "model_a", "model_b", "winner_ab", "winner_ba"),
    "games": has("question_id", "model_1", "model_2", "g1_winner", "g2_winner"),
    "votes": has("question_id", "model_a", "model_b", "winner", "judge", "turn"),
    "answers": has("question_id", "model_id", "choices"),
    "questions": has("question_id", "turns", "category"),
}

_POSITIONS = {"A": Choice.A, "B": Choice.B, "tie": Choice.TIE, "C": Choice.TIE, "error": None}
_VOTES = {"model_a": Choice.A, "model_b": Choice.B, "tie": Choice.TIE, "tie (bothbad)": Choice.BOTH_BAD}
_SWAPPED = {Choice.A: Choice.B, Choice.B: Choice.A}
_UNTOLD = 0


def read(tables: Sequence[Table], log: Log) -> Iterator[Item]:
    """All items of the files."""
    found = by_kind(tables, KINDS)
    takers = {"questions": _question, "answers": _answer, "positions": _positions, "games": _games, "votes": _vote}
    for kind, take in takers.items():
        for table in found[kind]:
            yield from table.each(log, take)


def _key(row: Row, turn: int) -> str:
    question = name_of(row, "question_id")
    return f"{question}-turn-{turn}" if turn else question


def _turn(row: Row) -> int:
    turn = row.get("turn", _UNTOLD)
    if not isinstance(turn, int) or isinstance(turn, bool) or turn < 0:
        raise RowRefusedError(f"the turn {turn!r} is no number")
    return turn


def _question(table: Table, line: int, row: Row, log: Log) -> Iterable[Item]:
    turns = row["turns"]
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise RowRefusedError("the turns are no list of texts")
    turns = [clean(log, table, line, turn, "the question") for turn in turns]
    category = name_of(row, "category")
    for last in range(1, len(turns) + 1):
        yield PromptItem(_key(row, last), users(turns[:last]), category)
    yield PromptItem(_key(row, _UNTOLD), users(turns), category)


def _answer(table: Table, line: int, row: Row, log: Log) -> Iterable[Item]:
    try:
        turns = row["choices"][0]["turns"]
    except (LookupError, TypeError) as error:
        raise RowRefusedError("it holds no turns of a first choice") from error
    if not isinstance(turns, list) or not turns:
        raise RowRefusedError("the turns are no list")
    turns = [text_of(log, table, line, turn, f"turn {place}") for place, turn in enumerate(turns, 1)]
    name = name_of(row, "model_id")
    for last in range(1, len(turns) + 1):
        yield ResponseItem(_key(row, last), name, conversation(turns[:last]))
    yield ResponseItem(_key(row, _UNTOLD), name, conversation(turns))


def _both(
    key: str, one: str, other: str, judge: str, choices: tuple[Choice | None, Choice | None], said: Sequence[str],
) -> Iterable[Item]:  # fmt: skip
    """The verdicts of both orders; the choices are sides of what was shown."""
    if one == other:
        raise RowRefusedError(f"{one} is compared with itself")
    for (a, b), choice, text in zip(((one, other), (other, one)), choices, said, strict=True):
        yield VerdictItem(key, a, b, judge, VoterKind.JUDGE, choice, order_known=True, said=text)


def _positions(table: Table, line: int, row: Row, log: Log) -> Iterable[Item]:
    said = [words_of(log, table, line, row.get(name)) for name in ("judgment_ab", "judgment_ba")]
    choices = (_label(row, "winner_ab", _POSITIONS), _label(row, "winner_ba", _POSITIONS))
    judge = name_of({**row, "file": table.source.stem}, "judge_id", "judge", "file")
    yield from _both(_key(row, _turn(row)), name_of(row, "model_a"), name_of(row, "model_b"), judge, choices, said)


def _games(table: Table, line: int, row: Row, log: Log) -> Iterable[Item]:
    said = [words_of(log, table, line, row.get(name)) for name in ("g1_judgment", "g2_judgment")]
    names = {"model_1": Choice.A, "model_2": Choice.B, "tie": Choice.TIE, "error": None}
    first, second = _label(row, "g1_winner", names), _label(row, "g2_winner", names)
    choices = (first, _SWAPPED.get(second, second) if second else None)
    one, other = name_of(row, "model_1"), name_of(row, "model_2")
    yield from _both(_key(row, _turn(row)), one, other, _judge(table, row), choices, said)


def _vote(table: Table, line: int, row: Row, log: Log) -> Iterable[Item]:
    """A vote by a person, or by a judge whose two orders were made one already; our own files alone tell the order."""
    turn = _turn(row)
    key, (a, b) = _key(row, turn), (name_of(row, "model_a"), name_of(row, "model_b"))
    if a == b:
        raise RowRefusedError(f"{a} is compared with itself")
    judge = _judge(table, row)
    is_judge = isinstance(row["judge"], list) or "gpt" in judge.lower()
    choice = _label(row, "winner", {**_VOTES, "error": None} if is_judge else _VOTES)
    said: list[Item] = []
    for name, field in ((a, "conversation_a"), (b, "conversation_b")):
        turns = row.get(field)
        if isinstance(turns, list):
            prompt, text = spoken(table, line, turns, log, most=turn)
            said += [PromptItem(key, prompt)] if field == "conversation_a" else []
            said.append(ResponseItem(key, name, text))
    yield from said
    kind = VoterKind.JUDGE if is_judge else VoterKind.RATER
    yield VerdictItem(key, a, b, judge, kind, choice, order_known=row.get("order_known") is True)


def spoken(
    table: Table, line: int, turns: list[Any], log: Log, *, most: int = 0
) -> tuple[tuple[tuple[str, str], ...], str]:
    """A conversation as what the user said and what the checkpoint said, of its first ``most`` turns or of all.

    Raises:
        RowRefusedError: a turn is none.
    """
    by: dict[str, list[str]] = {"user": [], "assistant": []}
    for turn in turns:
        if not isinstance(turn, dict) or turn.get("role") not in (*by, "system"):
            raise RowRefusedError("a turn of the conversation has no known role")
        if turn["role"] in by:
            by[turn["role"]].append(text_of(log, table, line, turn.get("content"), f"a turn of the {turn['role']}"))
    if not by["user"]:
        raise RowRefusedError("the conversation has no turn of the user")
    asked, said = (texts[: most or None] for texts in by.values())
    return users(asked), conversation(said) if said else ""


def _judge(table: Table, row: Row) -> str:
    judge = row.get("judge")
    named = " ".join(map(str, judge)) if isinstance(judge, list) else judge
    return name_of({"judge": named, "file": table.source.stem}, "judge", "file")


def _label(row: Row, field: str, labels: dict[str, Any]) -> Choice | None:
    try:
        choice: Choice | None = labels[row[field]]
    except (KeyError, TypeError) as error:
        raise RowRefusedError(f'"{field}" is {row.get(field)!r}; known are {", ".join(labels)}') from error
    return choice
