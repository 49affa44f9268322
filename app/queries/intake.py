"""Checkpoints that somebody brought, as pages and the command line show them."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.terms import BaseModelState, IntakeState
from app.models import Account, BaseModel, Checkpoint, Intake
from app.queries.jobs import JobView, job_views

_NEWEST = 20


@dataclass(frozen=True)
class SentFileRow:
    """A file as it was sent."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class IntakeRow:
    """One upload. ``added_by`` is empty for one from the command line; ``base_model`` while none is chosen."""

    id: uuid.UUID
    name: str
    state: IntakeState
    reason: str
    notes: tuple[str, ...]
    files: tuple[SentFileRow, ...]
    added_by: str
    base_model: str
    checkpoint_id: uuid.UUID | None
    checkpoint: str
    job: JobView | None
    created_at: datetime

    @property
    def unfinished(self) -> bool:
        """Whether it may still change by itself."""
        return self.job is not None and self.job.unfinished


@dataclass(frozen=True)
class AddPage:
    """What the page that adds checkpoints offers: base models by name, and what was sent lately."""

    base_models: tuple[str, ...]
    rows: tuple[IntakeRow, ...]


def intake_rows(session: Session, *conditions: Any, most: int | None = None) -> tuple[IntakeRow, ...]:
    """Uploads newest first, in two queries."""
    query = (
        select(Intake, Account.name, BaseModel.name, Checkpoint.name)
        .join(Account, Account.id == Intake.account_id, isouter=True)
        .join(BaseModel, BaseModel.id == Intake.base_model_id, isouter=True)
        .join(Checkpoint, Checkpoint.id == Intake.checkpoint_id, isouter=True)
        .where(*conditions)
        .order_by(Intake.created_at.desc(), Intake.id)
        .limit(most)
    )
    found = session.execute(query).all()
    jobs = job_views(session, (intake.job_id for intake, *_ in found))
    return tuple(
        IntakeRow(
            id=intake.id,
            name=intake.name,
            state=intake.state,
            reason=intake.reason,
            notes=tuple(intake.notes.splitlines()),
            files=tuple(SentFileRow(told["name"], told["bytes"], told["sha256"]) for told in intake.files),
            added_by=account or "",
            base_model=base or "",
            checkpoint_id=intake.checkpoint_id,
            checkpoint=checkpoint or "",
            job=jobs.get(intake.job_id) if intake.job_id else None,
            created_at=intake.created_at,
        )
        for intake, account, base, checkpoint in found
    )


def intake_row(session: Session, intake_id: uuid.UUID) -> IntakeRow:
    """One upload.

    Raises:
        NotFoundError: no upload has this id.
    """
    rows = intake_rows(session, Intake.id == intake_id)
    if not rows:
        raise NotFoundError("There is no such upload. The page that adds checkpoints lists them.")
    return rows[0]


def uploads_of(session: Session, checkpoint_id: uuid.UUID) -> tuple[IntakeRow, ...]:
    """How a checkpoint came here, where somebody brought it, newest first: the same content may come several times."""
    return intake_rows(session, Intake.checkpoint_id == checkpoint_id)


def add_page(session: Session) -> AddPage:
    """The page that adds checkpoints."""
    ready = select(BaseModel.name).where(BaseModel.state == BaseModelState.READY).order_by(BaseModel.name)
    return AddPage(tuple(session.scalars(ready)), intake_rows(session, most=_NEWEST))
