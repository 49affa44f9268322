"""Whether the pairs of an eval batch may be read with their authors. The blind side may not import this."""

import uuid
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.terms import BatchState, Reveal
from app.models import BatchCheckpoint, Checkpoint, EvalBatch, Suite
from app.queries.batches import simulated_votes, standing_votes


class Reading(StrEnum):
    """Whether texts may be shown beside the names of who wrote them."""

    NOT_YET = "not_yet"  # somebody may still vote
    NEVER = "never"
    OPEN = "open"


@dataclass(frozen=True)
class Member:
    """A checkpoint that takes part in an eval batch."""

    id: uuid.UUID
    name: str


@dataclass(frozen=True)
class PairsBatch:
    """What the pages of the pairs say about the eval batch itself."""

    id: uuid.UUID
    name: str
    suite: str
    suite_id: uuid.UUID
    replicates: int
    reading: Reading
    baseline: Member
    challengers: tuple[Member, ...]
    votes: int
    simulated_votes: int
    """How many of the votes are nobody's."""


def batch_of(session: Session, batch_id: uuid.UUID) -> tuple[EvalBatch, PairsBatch]:
    """An eval batch and whether its pairs may be read by now.

    Raises:
        NotFoundError: no eval batch has this id.
    """
    row = session.execute(
        select(EvalBatch, Suite.name, Suite.version)
        .join(Suite, Suite.id == EvalBatch.suite_id)
        .where(EvalBatch.id == batch_id)
    ).first()
    if row is None:
        raise NotFoundError("There is no such eval batch. The list of eval batches shows what exists.")
    stored, suite, version = row
    members = session.execute(
        select(Checkpoint.id, Checkpoint.name)
        .join(BatchCheckpoint, BatchCheckpoint.checkpoint_id == Checkpoint.id)
        .where(BatchCheckpoint.eval_batch_id == batch_id)
        .order_by(BatchCheckpoint.position)
    )
    baseline, *challengers = (Member(id_, name) for id_, name in members)
    return stored, PairsBatch(
        id=stored.id,
        name=stored.name,
        suite=f"{suite} v{version}",
        suite_id=stored.suite_id,
        replicates=stored.replicates,
        reading=_reading(stored),
        baseline=baseline,
        challengers=tuple(challengers),
        votes=standing_votes(session, [batch_id]).get(batch_id, 0),
        simulated_votes=simulated_votes(session, [batch_id]).get(batch_id, 0),
    )


def _reading(batch: EvalBatch) -> Reading:
    if batch.reveal is not Reveal.AT_CLOSE:
        return Reading.NEVER
    return Reading.OPEN if batch.state is BatchState.CLOSED else Reading.NOT_YET
