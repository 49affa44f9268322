"""Perplexities: the loss of a checkpoint on a file of a dataset."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import Split
from app.models.types import Identified, Table, TextEnum

PERPLEXITY_KEY = ("fingerprint", "base_fingerprint", "file_sha256", "max_length")
"""Everything that decides the loss. Same key, same row: it is measured once."""


class Perplexity(Identified, Table):
    """One measurement, asked for or made. Until it is made, all below ``created_at`` is empty."""

    __tablename__ = "perplexity"
    __table_args__ = (UniqueConstraint(*PERPLEXITY_KEY, name="uq_perplexity_key"),)

    checkpoint_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("checkpoint.id"), index=True)
    """For which it was asked first; another one with the same content has the same perplexity."""
    dataset_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("dataset.id"), index=True)
    split: Mapped[Split] = mapped_column(TextEnum(Split))
    fingerprint: Mapped[str] = mapped_column(String(64))
    base_fingerprint: Mapped[str] = mapped_column(String(64))
    """Of the bare base that it sits on, which is itself for a base."""
    file_sha256: Mapped[str] = mapped_column(String(64), index=True)
    max_length: Mapped[int]
    """Rows with more tokens are left out."""
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("job.id"), index=True)
    created_at: Mapped[datetime]
    measured_at: Mapped[datetime | None]
    mean_loss: Mapped[float | None]
    """Nats per learned token."""
    tokens: Mapped[int | None]
    """Learned ones."""
    rows: Mapped[int | None]
    skipped_rows: Mapped[int | None]
    """Too long."""
    row_losses: Mapped[list[Any] | None] = mapped_column(deferred=True)
    """Of each row: line, tokens, summed loss in nats. What a paired difference is made from."""
    device: Mapped[str] = mapped_column(String(60), default="")
    dtype: Mapped[str] = mapped_column(String(20), default="")
    difference: Mapped[float | None]
    """Mean loss minus that of its base on the same rows; empty for a base, and where there are too few rows."""
    difference_low: Mapped[float | None]
    difference_high: Mapped[float | None]
