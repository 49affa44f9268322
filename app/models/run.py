"""Runs: one training execution each, with the loss it reported on the way."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import LineKind, RunKind, Split
from app.models.types import Identified, Table, TextEnum


class Run(Identified, Table):
    """A recipe applied to a dataset on a base model. Its state and progress stand in its job."""

    __tablename__ = "run"

    name: Mapped[str] = mapped_column(String(120), unique=True)
    kind: Mapped[RunKind] = mapped_column(TextEnum(RunKind))
    recipe_name: Mapped[str] = mapped_column(String(120))
    recipe: Mapped[dict[str, Any]]
    """The whole recipe as it was when the run was launched."""
    dataset_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("dataset.id"))
    """The dataset it learns from; of a mix the first."""
    base_model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("base_model.id"))
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("job.id"))
    device: Mapped[str] = mapped_column(String(60), default="")
    dtype: Mapped[str] = mapped_column(String(20), default="")
    total_steps: Mapped[int] = mapped_column(default=0)
    trainable_parameters: Mapped[int] = mapped_column(BigInteger, default=0)
    peak_memory_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    notes: Mapped[str] = mapped_column(Text, default="")
    """Warnings of the training, one a line."""
    preview: Mapped[list[Any] | None]
    """The first rows as the model sees them: ``line``, and ``pieces`` of text with whether they are learned."""
    came_from_id: Mapped[uuid.UUID | None]
    """The run whose recipe was changed for this one. Without a constraint, which SQLite cannot add to a table."""
    sweep_id: Mapped[uuid.UUID | None] = mapped_column(index=True)
    """The same for all runs that one recipe with lists was launched as."""
    created_at: Mapped[datetime]


class RunDataset(Table):
    """One dataset of a run that mixes several; a run on one dataset has none of these rows."""

    __tablename__ = "run_dataset"

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("run.id"), primary_key=True)
    dataset_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("dataset.id"), primary_key=True, index=True)
    position: Mapped[int]
    """Place in the mix as it was asked for, from 0."""
    weight: Mapped[float]
    """How often an epoch sees each row."""


class RunMetric(Table):
    """What one step or one validation reported."""

    __tablename__ = "run_metric"
    __table_args__ = (UniqueConstraint("run_id", "split", "step"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("run.id"))
    split: Mapped[Split] = mapped_column(TextEnum(Split))
    step: Mapped[int]
    epoch: Mapped[float]
    loss: Mapped[float]
    """Nats per trained token."""
    learning_rate: Mapped[float | None]
    tokens_per_second: Mapped[float | None]
    tokens: Mapped[int | None] = mapped_column(BigInteger)
    """Trained on since the start, padding not counted."""
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """The most that was in use up to this step."""
    created_at: Mapped[datetime]


class RunLine(Table):
    """One line of a run's log, kept here since the worker that trains may be on another machine."""

    __tablename__ = "run_line"
    __table_args__ = (Index("ix_run_line_run_id_id", "run_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("run.id"))
    kind: Mapped[LineKind] = mapped_column(TextEnum(LineKind))
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
