"""Packages: checkpoints made ready to be taken elsewhere."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import NumberFormat, PackageKind
from app.models.types import Identified, Table, TextEnum


class Package(Identified, Table):
    """A checkpoint in one form, written into a folder by a worker; it waits there until somebody has taken it."""

    __tablename__ = "package"
    __table_args__ = (UniqueConstraint("checkpoint_id", "kind", "number_format"),)

    checkpoint_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("checkpoint.id"))
    kind: Mapped[PackageKind] = mapped_column(TextEnum(PackageKind))
    number_format: Mapped[NumberFormat] = mapped_column(TextEnum(NumberFormat))
    """Of a merged model; the others keep the numbers that were trained."""
    card: Mapped[str] = mapped_column(Text)
    """The model card that goes along, as it was when the package was asked for."""
    folder: Mapped[str] = mapped_column(String(1000), default="")
    size_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    off: Mapped[float | None]
    """Of a merged model: the largest difference of a logit to base and adapter, as a share of the largest logit."""
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("job.id"))
    created_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
