"""Preference rows as TRL reads them: prompt, chosen and rejected, each as messages.

Only pairs of which most people prefer one text: a tie has none, and what the texts alone decide teaches nothing.
"""

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from sqlalchemy.orm import Session

from app.domain.terms import Outcome, VoterKind
from app.queries.exports.conversations import plain
from app.queries.exports.pairs import ToldPair, told_pairs
from app.queries.exports.rows import Row

FILE = "preferences.jsonl"


def rows(session: Session, batch_id: UUID) -> Iterator[Row]:
    """One row for each pair with a preferred text."""
    for pair in told_pairs(session, batch_id):
        if _why_not(pair):
            continue
        texts = pair.first.text, pair.second.text
        chosen, rejected = texts if pair.most(VoterKind.RATER) is Outcome.FIRST else reversed(texts)
        yield (
            FILE,
            {
                "prompt": plain(pair.messages),
                "chosen": [{"role": "assistant", "content": chosen}],
                "rejected": [{"role": "assistant", "content": rejected}],
            },
        )


def left_out(session: Session, batch_id: UUID) -> dict[str, int]:
    """How many pairs have no row, by reason."""
    reasons = Counter(_why_not(pair) for pair in told_pairs(session, batch_id))
    return {reason: reasons[reason] for reason in ("tie", "settled", "no vote") if reasons[reason]}


def _why_not(pair: ToldPair) -> str:
    if pair.settled:
        return "settled"
    return {None: "no vote", Outcome.TIE: "tie"}.get(pair.most(VoterKind.RATER), "")
