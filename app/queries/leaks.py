"""The leak meter: what members of an eval batch are called, and how many pairs hold a text that says who wrote it."""

import uuid

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.terms import PairKind
from app.models import BaseModel, BatchCheckpoint, Checkpoint, Pair


def names_of(session: Session, batch_id: uuid.UUID) -> tuple[str, ...]:
    """Names of the checkpoints of an eval batch and of the base models that they sit on, or are said to sit on."""
    members = session.execute(
        select(Checkpoint.name, Checkpoint.origin, BaseModel.name)
        .join(BatchCheckpoint, BatchCheckpoint.checkpoint_id == Checkpoint.id)
        .join(BaseModel, BaseModel.id == Checkpoint.base_model_id, isouter=True)
        .where(BatchCheckpoint.eval_batch_id == batch_id)
    ).all()
    found: set[str] = set()
    for name, origin, base in members:
        found |= {name, base or "", *(str((origin or {}).get(key, "")) for key in ("base_model", "run"))}
    return tuple(sorted(found - {""}))


def flagged_pairs(session: Session, batch_id: uuid.UUID) -> int:
    """How many pairs that voters are shown hold a text that says who wrote it."""
    main = (Pair.eval_batch_id == batch_id, Pair.kind == PairKind.MAIN, Pair.settled.is_(None))
    return session.scalar(select(func.count(Pair.id)).where(*main, Pair.self_identifies.is_(True))) or 0
