"""Registering checkpoints. A checkpoint is its content: the same fingerprint is the same checkpoint."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import ConflictError
from app.domain.terms import CheckpointKind
from app.models import BaseModel, BatchCheckpoint, Checkpoint, Run


@dataclass(frozen=True)
class SavedAdapter:
    """What the training code wrote to disk. ``label`` is ``epoch-2`` or ``step-10``."""

    label: str
    folder: str
    fingerprint: str
    step: int
    epoch: float
    is_last: bool
    size_bytes: int
    validation_loss: float | None
    effect: dict[str, Any]


def register_base(session: Session, model: BaseModel, *, now: datetime) -> Checkpoint:
    """The bare base as something that can answer."""
    there = session.scalar(
        select(Checkpoint).where(Checkpoint.base_model_id == model.id, Checkpoint.kind == CheckpointKind.BASE)
    )
    if there is not None:
        there.name = model.name
        return there
    identity = f"base\n{model.weights_hash}\n{model.tokenizer_hash}\n{model.template_hash}"
    checkpoint = Checkpoint(
        name=model.name,
        kind=CheckpointKind.BASE,
        base_model_id=model.id,
        fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
        created_at=now,
        effect=None,
    )
    session.add(checkpoint)
    session.flush()
    return checkpoint


def register_adapter(session: Session, run: Run, saved: SavedAdapter, *, now: datetime) -> Checkpoint:
    """A checkpoint that a run has just written; registering it twice changes nothing.

    Raises:
        ConflictError: an earlier attempt of the run wrote another one at this step, and results depend on it.
    """
    there = session.scalar(select(Checkpoint).where(Checkpoint.run_id == run.id, Checkpoint.step == saved.step))
    if there is not None and there.fingerprint != saved.fingerprint and _is_used(session, there):
        raise ConflictError(
            f"{there.name} of an earlier attempt takes part in an eval batch and differs from what was trained now. "
            "It was kept; train again under a new name."
        )
    checkpoint = there or Checkpoint(
        kind=CheckpointKind.ADAPTER,
        base_model_id=run.base_model_id,
        run_id=run.id,
        step=saved.step,
        created_at=now,
    )
    checkpoint.name = f"{run.name}/{saved.label}"
    checkpoint.folder = saved.folder
    checkpoint.fingerprint = saved.fingerprint
    checkpoint.epoch = saved.epoch
    checkpoint.is_last = saved.is_last
    checkpoint.size_bytes = saved.size_bytes
    checkpoint.validation_loss = saved.validation_loss
    checkpoint.effect = saved.effect
    session.add(checkpoint)
    session.flush()
    if saved.is_last:
        mark_last(session, run)
    return checkpoint


def mark_last(session: Session, run: Run) -> None:
    """Of all checkpoints of a run, those of earlier attempts included, the furthest is the last."""
    of_run = session.scalars(select(Checkpoint).where(Checkpoint.run_id == run.id).order_by(Checkpoint.step)).all()
    for checkpoint in of_run:
        checkpoint.is_last = checkpoint is of_run[-1]


def _is_used(session: Session, checkpoint: Checkpoint) -> bool:
    query = select(BatchCheckpoint.id).where(BatchCheckpoint.checkpoint_id == checkpoint.id).limit(1)
    return session.scalar(query) is not None
