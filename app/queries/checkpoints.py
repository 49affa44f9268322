"""Checkpoints and their lineage, as pages and the command line show them."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.terms import CheckpointKind
from app.models import BaseModel, BatchCheckpoint, Checkpoint, EvalBatch, Run
from app.queries.paging import FIRST_PAGE, Wanted, Window, find
from app.queries.run_data import data_of, label_of


@dataclass(frozen=True)
class CheckpointRow:
    """One checkpoint. ``validation_loss`` in nats per token; ``effect_passed`` is unknown for a bare base."""

    id: uuid.UUID
    name: str
    kind: CheckpointKind
    base_model: str
    run_id: uuid.UUID | None
    run_name: str
    fingerprint: str
    step: int | None
    epoch: float | None
    is_last: bool
    size_bytes: int
    validation_loss: float | None
    effect_passed: bool | None
    created_at: datetime


@dataclass(frozen=True)
class CheckpointsPage:
    """A page of the checkpoints, newest first."""

    rows: tuple[CheckpointRow, ...]
    window: Window


@dataclass(frozen=True)
class CheckpointPage:
    """A checkpoint with what it came from and what it took part in."""

    checkpoint: CheckpointRow
    folder: str
    origin: tuple[tuple[str, str], ...]
    """What is told of a checkpoint whose weights are not here, as (word, value)."""
    effect: dict[str, Any]
    """kl_mean, kl_max (nats), delta_norm, passed, reason, and layers: norm by name; empty for a bare base."""
    dataset_id: uuid.UUID | None
    dataset: str
    batches: tuple[tuple[uuid.UUID, str], ...]


_NEWEST_FIRST = (Checkpoint.created_at.desc(), Checkpoint.name)


COMPETES = Checkpoint.kind != CheckpointKind.CONTROL
"""What lists show: the two texts of control pairs were written by people and meet nobody."""


def _rows(query: Select[Checkpoint, str, str], session: Session) -> tuple[CheckpointRow, ...]:
    return tuple(
        CheckpointRow(
            id=checkpoint.id,
            name=checkpoint.name,
            kind=checkpoint.kind,
            base_model=base or (checkpoint.origin or {}).get("base_model", ""),
            run_id=checkpoint.run_id,
            run_name=run or "",
            fingerprint=checkpoint.fingerprint,
            step=checkpoint.step,
            epoch=checkpoint.epoch,
            is_last=checkpoint.is_last,
            size_bytes=checkpoint.size_bytes,
            validation_loss=checkpoint.validation_loss,
            effect_passed=None if checkpoint.effect is None else bool(checkpoint.effect.get("passed")),
            created_at=checkpoint.created_at,
        )
        for checkpoint, base, run in session.execute(query)
    )


def _with_names() -> Select[Checkpoint, str, str]:
    return (
        select(Checkpoint, BaseModel.name, Run.name)
        .join(BaseModel, BaseModel.id == Checkpoint.base_model_id, isouter=True)
        .join(Run, Run.id == Checkpoint.run_id, isouter=True)
    )


def checkpoint_rows(session: Session, *conditions: Any) -> tuple[CheckpointRow, ...]:
    """Checkpoints newest first, in one query."""
    return _rows(_with_names().where(COMPETES, *conditions).order_by(*_NEWEST_FIRST), session)


def checkpoints_of_run(session: Session, run_id: uuid.UUID) -> tuple[CheckpointRow, ...]:
    """The checkpoints of one run in training order."""
    return _rows(_with_names().where(Checkpoint.run_id == run_id).order_by(Checkpoint.step), session)


def checkpoints_page(session: Session, wanted: Wanted = FIRST_PAGE) -> CheckpointsPage:
    """The list of checkpoints."""
    ids, window = find(session, wanted, Checkpoint, _NEWEST_FIRST, Checkpoint.name, within=COMPETES)
    return CheckpointsPage(checkpoint_rows(session, Checkpoint.id.in_(ids)), window)


_TOLD = ("dataset", "rows", "run", "device", "dtype", "base_model", "base_hash", "template_hash", "made_at")


def _told(origin: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """In the order of the data flow: Postgres keeps the keys of JSON in its own."""
    keys = [*(key for key in _TOLD if key in origin), *sorted(origin.keys() - set(_TOLD))]
    return tuple((key.replace("_", " "), str(origin[key])) for key in keys if origin[key])


def checkpoint_page(session: Session, checkpoint_id: uuid.UUID) -> CheckpointPage:
    """One checkpoint with its lineage.

    Raises:
        NotFoundError: no checkpoint has this id.
    """
    rows = checkpoint_rows(session, Checkpoint.id == checkpoint_id)
    stored = session.get(Checkpoint, checkpoint_id)
    if not rows or stored is None:
        raise NotFoundError("There is no such checkpoint. The list of checkpoints shows what exists.")
    data = data_of(session, stored.run_id) if stored.run_id else ()
    batches = session.execute(
        select(EvalBatch.id, EvalBatch.name)
        .join(BatchCheckpoint, BatchCheckpoint.eval_batch_id == EvalBatch.id)
        .where(BatchCheckpoint.checkpoint_id == checkpoint_id)
        .order_by(EvalBatch.created_at)
    )
    return CheckpointPage(
        checkpoint=rows[0],
        folder=stored.folder,
        origin=_told(stored.origin or {}),
        effect=stored.effect or {},
        dataset_id=data[0].dataset.id if data else None,
        dataset=label_of(data),
        batches=tuple((row.id, row.name) for row in batches),
    )
