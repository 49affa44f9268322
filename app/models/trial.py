"""Trials: prompts put to checkpoints on the playground."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.types import Identified, Table


class Trial(Identified, Table):
    """One prompt, the checkpoints it is put to, and what they say so far. Nothing else refers to it."""

    __tablename__ = "trial"

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"), index=True)
    base_model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("base_model.id"))
    prompt: Mapped[str] = mapped_column(Text)
    sampling: Mapped[dict[str, Any]]
    """Settings of the responses, and their ``seed``."""
    members: Mapped[list[Any]]
    """Of each checkpoint, in order: ``name``, ``fingerprint``, and its ``folder``, empty for the bare base."""
    texts: Mapped[list[Any]]
    """Of each member, in the same order: ``text``, ``tokens``, and the ``finish_reason`` once it has ended."""
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("job.id"))
    created_at: Mapped[datetime]
