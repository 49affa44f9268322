"""LLMBar: pairs of outputs with a true winner, and what evaluators said in both orders.

The outputs have no authors, so the checkpoints are called output_1 and output_2; the truth is cast by a voter called
"label". A winner names the output, whichever stood first. Zeng et al. 2023, arXiv 2310.07641.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from app.domain.imports.items import Item, Log, PairItem, PromptItem, RowRefusedError, VerdictItem
from app.domain.imports.places import Places
from app.domain.imports.tables import Row, Table, by_kind, clean, has, key_of, text_of, users
from app.domain.terms import Choice, VoterKind

KINDS = {
    "results": has("input", "output_1", "output_2", "label", "results"),
    "dataset": has("input", "output_1", "output_2", "label"),
}

LABEL = "label"
_ONE, _OTHER = "output_1", "output_2"
_WINNERS = {"1": Choice.A, "2": Choice.B}
_ORDERS = (("swap = False", _ONE, _OTHER), ("swap = True", _OTHER, _ONE))


def read(tables: Sequence[Table], log: Log) -> Iterator[Item]:
    """All items of the files; the label of a pair is one verdict, in however many of them it stands."""
    found, places, told = by_kind(tables, KINDS), Places(), set[PairItem]()
    for table in (*found["dataset"], *found["results"]):
        yield from table.each(log, _row, places, told)


def _row(table: Table, line: int, row: Row, log: Log, places: Places, told: set[PairItem]) -> Iterable[Item]:
    if not isinstance(row["input"], str) or not row["input"].strip():
        raise RowRefusedError("the input is no text")
    label = _WINNERS.get(str(row["label"]))
    if label is None:
        raise RowRefusedError(f"the label {row['label']!r} is not 1 or 2")
    asked = clean(log, table, line, row["input"], "the input")
    prompt = PromptItem(key_of(asked), users([asked]))
    texts = [(name, text_of(log, table, line, row[name], name)) for name in (_ONE, _OTHER)]
    pair, responses = places.place(prompt.key, texts[0], texts[1])
    verdicts = [
        verdict
        for number, found in enumerate(row.get("results") or [])
        for verdict in _evaluator(table, line, pair, found, number, log)
    ]
    yield prompt
    yield from responses
    if pair not in told:
        told.add(pair)
        yield VerdictItem(*pair[:3], LABEL, VoterKind.RATER, label, replicate=pair.replicate)
    yield from verdicts


def _evaluator(table: Table, line: int, pair: PairItem, found: Any, number: int, log: Log) -> Iterable[VerdictItem]:
    judge = table.source.folder if table.source.stem in ("result", "results") else table.source.stem
    judge = (judge or "judge") + (f" {number + 1}" if number else "")
    for key, a, b in _ORDERS:
        said = found.get(key) if isinstance(found, dict) else None
        if not isinstance(said, dict):
            raise RowRefusedError(f"a result has no {key!r}")
        completion = said.get("completion")
        text = completion[0] if isinstance(completion, list) and completion else completion
        winner = said.get("winner")
        choice = None
        if winner is not None and str(winner) not in _WINNERS:
            log.note(table.name, line, f"the winner {winner!r} is not 1 or 2: a reply without a choice")
        elif winner is not None:
            named = {"1": _ONE, "2": _OTHER}[str(winner)]
            choice = Choice.A if named == a else Choice.B
        yield VerdictItem(
            pair.prompt, a, b, judge, VoterKind.JUDGE, choice, order_known=True, replicate=pair.replicate,
            said=clean(log, table, line, text, "the reply") if isinstance(text, str) else "",
        )  # fmt: skip
