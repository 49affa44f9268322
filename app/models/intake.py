"""Intakes: checkpoints that somebody brought, and what became of them."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import IntakeState
from app.models.types import Identified, Table, TextEnum


class Intake(Identified, Table):
    """One upload. It becomes a checkpoint only when a worker has found it to be one; a refused one keeps its reason."""

    __tablename__ = "intake"

    name: Mapped[str] = mapped_column(String(100))
    """What the checkpoint is to be called."""
    account_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("account.id"))
    """Who sent it; nobody: it was added on the command line."""
    base_model_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("base_model.id"))
    """The base model that was chosen; nothing: the one that fits is looked for."""
    files: Mapped[list[Any]]
    """Of each file that was sent: ``name`` as its sender had it, ``bytes``, ``sha256``."""
    folder: Mapped[str] = mapped_column(String(1000))
    """Where the files lie, by their number, until they have been checked."""
    state: Mapped[IntakeState] = mapped_column(TextEnum(IntakeState))
    reason: Mapped[str] = mapped_column(Text, default="")
    """Why it was refused."""
    notes: Mapped[str] = mapped_column(Text, default="")
    """What is worth knowing of one that was taken in, one sentence a line."""
    checkpoint_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("checkpoint.id"), index=True)
    """What it became, or what was here already with the same content."""
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("job.id"))
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
