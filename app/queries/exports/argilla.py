"""Records as Argilla reads them: both texts as fields, votes of people as responses, judges as a suggestion."""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy.orm import Session

from app.domain.terms import Outcome, VoterKind
from app.queries.exports.conversations import instruction
from app.queries.exports.pairs import told_pairs
from app.queries.exports.rows import Row

FILE = "records.jsonl"
_VALUE = {Outcome.FIRST: "response_1", Outcome.SECOND: "response_2", Outcome.TIE: "tie"}


def rows(session: Session, batch_id: UUID) -> Iterator[Row]:
    """One record a pair. The suggestion is what most verdicts of judges say; there is none without a judge."""
    for pair in told_pairs(session, batch_id):
        votes = [one for one in pair.verdicts if one.kind is VoterKind.RATER and not one.excluded]
        judges = sorted({one.voter for one in pair.verdicts if one.kind is VoterKind.JUDGE})
        judged = pair.most(VoterKind.JUDGE)
        yield (
            FILE,
            {
                "id": str(pair.id),
                "fields": {
                    "prompt": instruction(pair),
                    "response_1": pair.first.text,
                    "response_2": pair.second.text,
                },
                "metadata": {
                    "prompt_key": pair.prompt,
                    "category": pair.category,
                    "domain": pair.domain.value,
                    "replicate": pair.replicate,
                    "checkpoint_1": pair.first.checkpoint,
                    "checkpoint_2": pair.second.checkpoint,
                    "settled": pair.settled.value if pair.settled else None,
                    "simulated_votes": sum(one.simulated for one in votes),
                },
                "responses": [
                    {"user": one.voter, "status": "submitted", "values": {"preference": {"value": _VALUE[one.outcome]}}}
                    for one in votes
                ],
                "suggestions": [
                    {
                        "question_name": "preference",
                        "value": _VALUE[judged],
                        "agent": ", ".join(judges),
                        "type": "model",
                    }
                ]
                if judged
                else [],
            },
        )
