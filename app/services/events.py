"""Hints for open pages that something changed."""

import uuid
from datetime import datetime
from typing import Literal

from sqlalchemy.orm import Session

from app.models import Event

Topic = Literal["jobs", "pairs", "verdicts", "run"]


def announce(session: Session, topic: Topic, subject_id: uuid.UUID, *, now: datetime) -> None:
    """Tell open pages, after the commit, to fetch again what shows this subject."""
    session.add(Event(topic=topic, subject_id=subject_id, created_at=now))
