"""Checkpoints: what can answer."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import CheckpointKind
from app.models.types import Identified, Table, TextEnum


class Checkpoint(Identified, Table):
    """A base model alone or with an adapter, known by the fingerprint of its content, never by a path."""

    __tablename__ = "checkpoint"
    # The fingerprint is not unique: the same recipe run twice writes the same adapter, with another lineage.
    __table_args__ = (UniqueConstraint("run_id", "step"),)

    name: Mapped[str] = mapped_column(String(200), unique=True)
    kind: Mapped[CheckpointKind] = mapped_column(TextEnum(CheckpointKind))
    base_model_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("base_model.id"))
    run_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("run.id"))
    fingerprint: Mapped[str] = mapped_column(String(64), index=True)
    folder: Mapped[str] = mapped_column(String(1000), default="")
    step: Mapped[int | None]
    epoch: Mapped[float | None]
    is_last: Mapped[bool] = mapped_column(default=True)
    """Whether it is the last of its run; an early one evaluated by mistake reads as a bad recipe."""
    size_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    validation_loss: Mapped[float | None]
    effect: Mapped[dict[str, Any] | None]
    """Result of the effect gate: does this adapter change what the base says?"""
    origin: Mapped[dict[str, Any] | None]
    """What is told of an external checkpoint: the weights are not here, so nothing of it can be checked."""
    created_at: Mapped[datetime]
