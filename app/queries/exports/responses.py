"""Responses once each, checkpoint by checkpoint: a baseline text stands in many pairs and in one file."""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import BatchCheckpoint, Checkpoint
from app.queries.exports.pairs import Side, ToldPair, told_pairs


def told_responses(session: Session, batch_id: UUID) -> Iterator[tuple[ToldPair, Side]]:
    """Every response with a pair that it stands in; the checkpoints in the order of the plan, the baseline first."""
    members = (
        select(Checkpoint.name)
        .join(BatchCheckpoint, BatchCheckpoint.checkpoint_id == Checkpoint.id)
        .where(BatchCheckpoint.eval_batch_id == batch_id)
        .order_by(BatchCheckpoint.position)
    )
    for name in session.scalars(members).all():
        last = None
        for pair in told_pairs(session, batch_id):
            side = next((one for one in (pair.first, pair.second) if one.checkpoint == name), None)
            if side is not None and last != (pair.number, pair.replicate):
                last = pair.number, pair.replicate
                yield pair, side
