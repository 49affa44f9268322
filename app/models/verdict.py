"""Verdicts: the stored answers to ballots."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import Choice, Outcome
from app.models.types import Identified, Table, TextEnum


class Verdict(Identified, Table):
    """One choice on one ballot. Never edited, at most retracted once."""

    __tablename__ = "verdict"

    ballot_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("ballot.id"), unique=True)
    choice: Mapped[Choice] = mapped_column(TextEnum(Choice))
    outcome: Mapped[Outcome] = mapped_column(TextEnum(Outcome))
    """Computed from choice and the ballot's order; nobody ever types a winner in."""
    score: Mapped[float | None] = mapped_column(Float)
    """Where an imported judge gave a weight instead of a choice: how far it prefers ``second``, in [0, 1]."""
    reason: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[list[Any]]
    """Values of ``ReasonTag``."""
    surplus: Mapped[bool] = mapped_column(default=False)
    """Arrived after its ballot had lost the slot: kept, outside n."""
    seconds: Mapped[float] = mapped_column(Float)
    """Time on the ballot, from issue to cast; 0: imported without a time."""
    cast_at: Mapped[datetime]
    retracted_at: Mapped[datetime | None]
    retraction_seal: Mapped[str | None] = mapped_column(String(64))
    """Keyed hash over verdict seal and time of retraction."""
    seal: Mapped[str] = mapped_column(String(64))
    """Keyed hash over ballot seal, choice, outcome, time and all else that was said, made at cast."""


class Recognition(Table):
    """What a rater said after a vote when asked whether they think they recognised who wrote one of the texts."""

    __tablename__ = "recognition"

    verdict_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("verdict.id"), primary_key=True)
    recognised: Mapped[bool]
    answered_at: Mapped[datetime]
    seal: Mapped[str] = mapped_column(String(64))
    """Keyed hash over verdict seal, answer and time."""
