"""MT-bench: questions, the answer of each checkpoint, votes of people, and judgments of both orders.

A question is a prompt with its place in the suite as id; replicates are the ``choices`` of an answer. A prompt of
several turns is one turn here, with who speaks: our responses answer its end. Of a judge whose order nobody told there
is no first and second game: its verdicts have a file of their own, in the shape of single votes.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.domain.terms import Choice, Order, Outcome, VoterKind
from app.queries.exports.conversations import as_file, conversation, instruction
from app.queries.exports.pairs import ToldPair, ToldVerdict, told_pairs
from app.queries.exports.responses import told_responses
from app.queries.exports.rows import Row

_WINNER = {Choice.A: "model_a", Choice.B: "model_b", Choice.TIE: "tie", Choice.BOTH_BAD: "tie"}
_OUTCOME = {Outcome.FIRST: "model_1", Outcome.SECOND: "model_2", Outcome.TIE: "tie"}


def rows(session: Session, batch_id: UUID) -> Iterator[Row]:
    """Questions, the answers of each checkpoint, then what people and what judges said, each in files of its own."""
    for number, pairs in groupby(told_pairs(session, batch_id), lambda pair: pair.number):
        pair = next(pairs)
        yield "question.jsonl", {"question_id": number, "category": pair.category, "turns": [instruction(pair)]}
    yield from _answers(session, batch_id)
    for pair in told_pairs(session, batch_id):
        for verdict in _by(pair, VoterKind.RATER):
            yield "human_judgment.jsonl", _vote(pair, verdict, verdict.voter)
    for pair in told_pairs(session, batch_id):
        known = [verdict for verdict in _by(pair, VoterKind.JUDGE) if verdict.order_known]
        for judge, verdicts in groupby(sorted(known, key=_voter), _voter):
            yield "model_judgment/pair.jsonl", _judged(pair, judge, list(verdicts))
    for pair in told_pairs(session, batch_id):
        for verdict in _by(pair, VoterKind.JUDGE):
            if not verdict.order_known:
                yield "model_judgment/order_unknown.jsonl", _vote(pair, verdict, [verdict.voter, "pair"])


def _answers(session: Session, batch_id: UUID) -> Iterator[Row]:
    for (name, number), found in groupby(
        told_responses(session, batch_id), lambda one: (one[1].checkpoint, one[0].number)
    ):
        answers = list(found)
        yield (
            f"model_answer/{as_file(name)}.jsonl",
            {
                "question_id": number,
                "answer_id": f"{answers[0][1].fingerprint[:22]}-{number}",
                "model_id": name,
                "choices": [{"index": pair.replicate, "turns": [side.text]} for pair, side in answers],
            },
        )


def _by(pair: ToldPair, kind: VoterKind) -> list[ToldVerdict]:
    return [verdict for verdict in pair.verdicts if verdict.kind is kind and not verdict.excluded]


def _voter(verdict: ToldVerdict) -> str:
    return verdict.voter


def _vote(pair: ToldPair, verdict: ToldVerdict, judge: str | list[str]) -> dict[str, Any]:
    """One verdict. Where ``order_known`` is false, A and B are a way of writing and not what was seen."""
    a, b = pair.shown(verdict)
    return {
        "question_id": pair.number,
        "model_a": a.checkpoint,
        "model_b": b.checkpoint,
        "winner": _WINNER[verdict.choice],
        "judge": judge,
        "order_known": verdict.order_known,
        "conversation_a": conversation(pair, a),
        "conversation_b": conversation(pair, b),
        "turn": 1,
        "replicate": pair.replicate,
        "simulated": verdict.simulated,
        "tstamp": verdict.cast_at.timestamp(),
    }


def _judged(pair: ToldPair, judge: str, verdicts: list[ToldVerdict]) -> dict[str, Any]:
    """``g1`` is the game in which the first model stood first; one that was not played is ``null``."""
    games = {verdict.order: verdict for verdict in verdicts}
    g1, g2 = games.get(Order.FIRST_IS_A), games.get(Order.SECOND_IS_A)
    return {
        "question_id": pair.number,
        "model_1": pair.first.checkpoint,
        "model_2": pair.second.checkpoint,
        "g1_winner": _OUTCOME[g1.outcome] if g1 else None,
        "g2_winner": _OUTCOME[g2.outcome] if g2 else None,
        "judge": [judge, "pair"],
        "g1_judgment": g1.reason if g1 else "",
        "g2_judgment": g2.reason if g2 else "",
        "turn": 1,
        "replicate": pair.replicate,
        "simulated": verdicts[0].simulated,
        "tstamp": max(verdict.cast_at.timestamp() for verdict in verdicts),
    }
