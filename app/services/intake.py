"""Checkpoints that somebody brings: kept as they came until a worker has checked them, then registered or refused.

Nothing of an upload is opened here. The bytes are stored under numbers, the names that came with them only in the
database, and what reads them is a worker's process.
"""

import re
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import jobs
from app.domain.errors import ConflictError, NotFoundError
from app.domain.names import check_name
from app.domain.terms import BaseModelState, CheckpointKind, IntakeState, JobKind
from app.models import BaseModel, Checkpoint, Intake
from app.queries.lookup import find_base_model
from app.services.events import announce
from app.services.receiving import KeptUpload

CHECKPOINT_FILES = (
    "adapter_config.json", "adapter_model.safetensors", "adapters.safetensors", "manifest.json", "README.md"
)  # fmt: skip
"""What may be in an upload; the worker's check decides, this is for telling people beforehand."""

_UNFINISHED = (IntakeState.WAITING, IntakeState.CHECKING)


@dataclass(frozen=True)
class TakenIn:
    """What the worker made of an upload: our own copy of it, on this base model."""

    base_model_id: uuid.UUID
    folder: str
    fingerprint: str
    size_bytes: int
    effect: dict[str, Any]
    notes: tuple[str, ...] = field(default=())


def add_intake(
    session: Session,
    kept: KeptUpload,
    *,
    now: datetime,
    name: str = "",
    base: str = "",
    account_id: uuid.UUID | None = None,
    intake_id: uuid.UUID | None = None,
) -> Intake:
    """Queue the check of what was sent. Without ``base``, the base model that fits is looked for.

    ``intake_id``: by which whoever sent it can find it, should no answer come.

    Raises:
        BadInputError: the name cannot be one.
        ConflictError: the name is taken, or the base model is not ready.
        NotFoundError: there is no such base model.
    """
    model = find_base_model(session, base) if base else None
    if model is not None and model.state is not BaseModelState.READY:
        raise ConflictError(
            f"The base model {model.name} is not on this machine yet, so nothing can be held against it. Nothing was "
            "added. Try again when it is ready."
        )
    if model is None and session.scalar(select(BaseModel.id).where(BaseModel.state == BaseModelState.READY)) is None:
        raise ConflictError("There is no base model yet that a checkpoint could sit on. Add the base model first.")
    intake = Intake(
        id=intake_id or uuid.uuid4(),
        name=_chosen_name(session, name) if name else _free_name(session, _name_of(kept)),
        account_id=account_id,
        base_model_id=model.id if model else None,
        files=list(kept.files),
        folder=str(kept.folder),
        state=IntakeState.WAITING,
        checkpoint_id=None,
        created_at=now,
        ended_at=None,
    )
    session.add(intake)
    session.flush()
    intake.job_id = jobs.enqueue(session, JobKind.INTAKE, intake.id, title=f"Check {intake.name}", now=now).id
    session.flush()
    return intake


def _chosen_name(session: Session, name: str) -> str:
    check_name(name, "checkpoint")
    if name in _taken(session):
        raise ConflictError(f"There is a checkpoint {name!r} already. Nothing was added; choose another name.")
    return name


def _name_of(kept: KeptUpload) -> str:
    """From the name of the archive or the folder; files that came by themselves are all called the same."""
    if len(kept.files) > 1 or kept.called:
        stem = kept.called
    else:
        stem = re.sub(r"(\.tar)?\.[A-Za-z0-9]+$", "", str(kept.files[0]["name"]))
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:80] or "adapter"


def _free_name(session: Session, wanted: str) -> str:
    taken = _taken(session)
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _taken(session: Session) -> set[str]:
    waiting = select(Intake.name).where(Intake.state.in_(_UNFINISHED))
    return {*session.scalars(select(Checkpoint.name)), *session.scalars(waiting)}


def find_intake(session: Session, intake_id: uuid.UUID) -> Intake:
    """One upload.

    Raises:
        NotFoundError: no upload has this id.
    """
    intake = session.get(Intake, intake_id)
    if intake is None:
        raise NotFoundError("There is no such upload. The page that adds checkpoints lists them.")
    return intake


def begin(session: Session, intake: Intake, *, now: datetime) -> None:
    """A worker looks at it now."""
    intake.state = IntakeState.CHECKING
    _tell(session, intake, now)


def put_back(session: Session, intake: Intake, *, now: datetime) -> None:
    """The check could not be made, through no fault of the upload: it waits for another try."""
    intake.state = IntakeState.WAITING
    _tell(session, intake, now)


def refuse(session: Session, intake: Intake, reason: str, *, now: datetime) -> None:
    """It is no checkpoint that can be used; the reason is all that stays."""
    intake.state, intake.reason, intake.ended_at = IntakeState.REFUSED, reason, now
    _tell(session, intake, now)


def same_content(session: Session, fingerprint: str, base_model_id: uuid.UUID) -> Checkpoint | None:
    """The adapter with these weights on this base model that is here already, if one is."""
    return session.scalar(
        select(Checkpoint)
        .where(
            Checkpoint.fingerprint == fingerprint,
            Checkpoint.base_model_id == base_model_id,
            Checkpoint.kind == CheckpointKind.ADAPTER,
        )
        .order_by(Checkpoint.created_at)
        .limit(1)
    )


def accept(session: Session, intake: Intake, taken: TakenIn, *, now: datetime) -> Checkpoint:
    """Register the adapter; one with the same content on the same base model is not registered twice."""
    checkpoint = same_content(session, taken.fingerprint, taken.base_model_id)
    notes = taken.notes
    if checkpoint is not None:
        said = f"These are the weights of {checkpoint.name}, which is here already: nothing was stored a second time."
        notes = (said, *notes)
    else:
        name = intake.name if intake.name not in set(session.scalars(select(Checkpoint.name))) else ""
        checkpoint = Checkpoint(
            name=name or _free_name(session, intake.name),
            kind=CheckpointKind.ADAPTER,
            base_model_id=taken.base_model_id,
            fingerprint=taken.fingerprint,
            folder=taken.folder,
            size_bytes=taken.size_bytes,
            effect=taken.effect,
            created_at=now,
        )
        session.add(checkpoint)
        session.flush()
    intake.state, intake.notes, intake.ended_at = IntakeState.READY, "\n".join(notes), now
    intake.checkpoint_id, intake.base_model_id = checkpoint.id, taken.base_model_id
    _tell(session, intake, now)
    return checkpoint


def _tell(session: Session, intake: Intake, now: datetime) -> None:
    announce(session, "jobs", intake.id, now=now)
    session.flush()
