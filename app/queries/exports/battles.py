"""Battles as Chatbot Arena publishes them: one row a vote, A and B as they stood on the screen.

Where nobody told what stood as A, ``order_known`` is false, and A and B are a way of writing only.
"""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy.orm import Session

from app.domain.terms import Choice
from app.queries.exports.conversations import conversation
from app.queries.exports.pairs import told_pairs
from app.queries.exports.rows import Row

FILE = "battles.jsonl"
_WINNER = {Choice.A: "model_a", Choice.B: "model_b", Choice.TIE: "tie", Choice.BOTH_BAD: "tie (bothbad)"}


def rows(session: Session, batch_id: UUID) -> Iterator[Row]:
    """Every verdict that counts, of people and of judges; a judge that saw both orders has a row for each."""
    for pair in told_pairs(session, batch_id):
        for verdict in pair.verdicts:
            if verdict.excluded:
                continue
            a, b = pair.shown(verdict)
            yield (
                FILE,
                {
                    "question_id": str(pair.id),
                    "model_a": a.checkpoint,
                    "model_b": b.checkpoint,
                    "winner": _WINNER[verdict.choice],
                    "order_known": verdict.order_known,
                    "judge": verdict.voter,
                    "judge_kind": verdict.kind.value,
                    "simulated": verdict.simulated,
                    "conversation_a": conversation(pair, a),
                    "conversation_b": conversation(pair, b),
                    "turn": sum(turn["role"] == "user" for turn in pair.messages),
                    "anony": True,
                    "category": pair.category,
                    "tstamp": verdict.cast_at.timestamp(),
                },
            )
