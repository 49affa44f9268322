"""Voters: people and judges under one roof, so that no rule has to be written twice."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import VoterKind
from app.models.types import Identified, Table, TextEnum


class Voter(Identified, Table):
    """Somebody or something that casts verdicts."""

    __tablename__ = "voter"

    kind: Mapped[VoterKind] = mapped_column(TextEnum(VoterKind))
    name: Mapped[str] = mapped_column(String(120))
    simulated: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
