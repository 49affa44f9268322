"""The formats by name, and what is said when a file is of another one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from app.domain.errors import BadInputError
from app.domain.imports import (
    alpaca_eval,
    arena_hard,
    chatbot_arena,
    llmbar,
    llmfao,
    mt_bench,
    own,
    pandalm,
    plain,
)
from app.domain.imports.items import Item, Log
from app.domain.imports.tables import Kind, Source, Table, UnknownTableError, open_table


class Format(NamedTuple):
    """How one format is called, what its files are, which tables it knows, and how it is read."""

    name: str
    files: str
    kinds: Mapping[str, Kind]
    read: Callable[[Sequence[Table], Log], Iterator[Item]]


_ALL = (
    Format("arena", "the JSONL of `arena export`", own.KINDS, own.read),
    Format("llmfao", "models.jsonl, pairs, votes of the crowd and of judges", llmfao.KINDS, llmfao.read),
    Format("llmbar", "dataset.json, result.json of each evaluator", llmbar.KINDS, llmbar.read),
    Format("pandalm", "the test set with its annotators, replies of judges", pandalm.KINDS, pandalm.read),
    Format("alpaca-eval", "model outputs, annotations", alpaca_eval.KINDS, alpaca_eval.read),
    Format("mt-bench", "questions, answers, pair judgments, votes of people", mt_bench.KINDS, mt_bench.read),
    Format("arena-hard", "questions, answers, judgments", arena_hard.KINDS, arena_hard.read),
    Format("chatbot-arena", "battles as JSON or JSONL, the CSV of the 55,000", chatbot_arena.KINDS, chatbot_arena.read),
    Format("plain", "one comparison or verdict a row: JSONL, JSON or CSV", plain.KINDS, plain.read),
)  # fmt: skip
FORMATS = {one.name: one for one in _ALL}
"""From the one that is told most surely by its fields to the one that fits most."""


def read(name: str, sources: Sequence[Source], log: Log) -> Iterator[Item]:
    """All items of files of one format; what cannot be taken goes to the log.

    Raises:
        BadInputError: there is no such format, or a file is not of it; says which it looks like.
    """
    if name not in FORMATS:
        raise BadInputError(f"There is no format {name!r}. Known are {', '.join(FORMATS)}.")
    tables = [open_table(source, log) for source in sources]
    try:
        yield from FORMATS[name].read(tables, log)
    except UnknownTableError as error:
        like = looks_like(error.table.fields)
        hint = f" It looks like {like}." if like and like != name else f" That format has {FORMATS[name].files}."
        raise BadInputError(f"{error.message} That is no file of {name}.{hint} Nothing was imported.") from error


def looks_like(fields: frozenset[str]) -> str:
    """The name of the format that has rows with these fields; empty if none has."""
    return next((one.name for one in _ALL if any(fits(fields) for fits in one.kinds.values())), "")
