"""AlpacaEval: the outputs of each checkpoint in a file of its own, and every verdict as an annotation.

The baseline is ``output_1``; ``preference`` is 1 for it, 2 for the challenger, 1.5 for a tie.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.domain.terms import Outcome
from app.queries.exports.conversations import as_file, instruction
from app.queries.exports.pairs import Side, ToldPair, told_pairs
from app.queries.exports.responses import told_responses
from app.queries.exports.rows import Row

_PREFERENCE = {Outcome.FIRST: 1.0, Outcome.SECOND: 2.0, Outcome.TIE: 1.5}


def rows(session: Session, batch_id: UUID) -> Iterator[Row]:
    """Outputs, checkpoint by checkpoint, then annotations."""
    for pair, side in told_responses(session, batch_id):
        yield (
            f"outputs/{as_file(side.checkpoint)}.json",
            {
                "dataset": pair.category,
                "instruction": instruction(pair),
                "output": side.text,
                "generator": side.checkpoint,
                "replicate": pair.replicate,
            },
        )
    for pair in told_pairs(session, batch_id):
        for verdict in pair.verdicts:
            if not verdict.excluded:
                yield (
                    "annotations.json",
                    {
                        **_texts(pair, pair.first, pair.second),
                        "annotator": verdict.voter,
                        "annotator_kind": verdict.kind.value,
                        "simulated": verdict.simulated,
                        "preference": _PREFERENCE[verdict.outcome] if verdict.score is None else 1 + verdict.score,
                    },
                )


def _texts(pair: ToldPair, first: Side, second: Side) -> dict[str, Any]:
    return {
        "dataset": pair.category,
        "instruction": instruction(pair),
        "output_1": first.text,
        "generator_1": first.checkpoint,
        "output_2": second.text,
        "generator_2": second.checkpoint,
        "replicate": pair.replicate,
    }
