"""CSV: one line a pair, with both texts and what people and judges said of it."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.domain.terms import Choice, Outcome, VoterKind
from app.queries.exports.conversations import plain
from app.queries.exports.pairs import ToldPair, told_pairs
from app.queries.exports.rows import Row

FILE = "pairs.csv"


def rows(session: Session, batch_id: UUID) -> Iterator[Row]:
    """Every pair. ``outcome`` is what most people say; a tie where it is as many for each."""
    for pair in told_pairs(session, batch_id):
        yield FILE, _fields(pair)


def _fields(pair: ToldPair) -> dict[str, Any]:
    people, judges = (pair.counts(kind) for kind in (VoterKind.RATER, VoterKind.JUDGE))
    counted = [one for one in pair.verdicts if one.kind is VoterKind.RATER and not one.excluded]
    return {
        "pair": str(pair.id),
        "prompt": pair.prompt,
        "category": pair.category,
        "domain": pair.domain.value,
        "replicate": pair.replicate,
        "messages": json.dumps(plain(pair.messages), ensure_ascii=False),
        "first": pair.first.checkpoint,
        "second": pair.second.checkpoint,
        "first_fingerprint": pair.first.fingerprint,
        "second_fingerprint": pair.second.fingerprint,
        "first_text": pair.first.text,
        "second_text": pair.second.text,
        "settled": pair.settled.value if pair.settled else "",
        "names_author": "" if pair.flagged is None else str(pair.flagged).lower(),
        "outcome": pair.most(VoterKind.RATER) or "",
        **{f"people_{outcome.value}": people[outcome] for outcome in Outcome},
        "people_both_bad": sum(one.choice is Choice.BOTH_BAD for one in counted),
        "people_simulated": sum(one.simulated for one in counted),
        **{f"judges_{outcome.value}": judges[outcome] for outcome in Outcome},
    }
