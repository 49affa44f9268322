"""Datasets: frozen, hashed training files."""

from datetime import datetime

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.types import Identified, Table


class Dataset(Identified, Table):
    """A training file and, with it, the validation file it is measured on; copied at import and hashed."""

    __tablename__ = "dataset"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        UniqueConstraint("name", "sha256", "validation_sha256"),
    )

    name: Mapped[str] = mapped_column(String(120))
    version: Mapped[int]
    path: Mapped[str] = mapped_column(String(1000))
    sha256: Mapped[str] = mapped_column(String(64))
    rows: Mapped[int]
    validation_path: Mapped[str] = mapped_column(String(1000))
    validation_sha256: Mapped[str] = mapped_column(String(64))
    validation_rows: Mapped[int]
    source: Mapped[str] = mapped_column(String(400))
    created_at: Mapped[datetime]
