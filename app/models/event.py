"""Events: hints that something changed, written in the transaction of the change."""

import uuid
from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.types import Table


class Event(Table):
    """A topic and an id, nothing else: whatever streams from here cannot leak a text or a name."""

    __tablename__ = "event"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    topic: Mapped[str] = mapped_column(String(40))
    subject_id: Mapped[uuid.UUID]
    created_at: Mapped[datetime]
