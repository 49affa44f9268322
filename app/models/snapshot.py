"""Snapshots: statistics that read every verdict of an eval batch, kept by a job where that takes long."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.models.types import Table


class Snapshot(Table):
    """What was counted of one eval batch, and of how many votes. Made anew when many more have come in."""

    __tablename__ = "snapshot"

    eval_batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("eval_batch.id"), primary_key=True)
    votes: Mapped[int]
    """Standing votes on main pairs that it was made from."""
    content: Mapped[dict[str, Any]]
    """``Statistics`` in their stored form."""
    made_at: Mapped[datetime]
