"""Base models: frozen weights that adapters sit on."""

from datetime import datetime

from sqlalchemy import BigInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import BaseModelSource, BaseModelState
from app.models.types import Identified, Table, TextEnum


class BaseModel(Identified, Table):
    """Weights, tokenizer and chat template, each by hash, and where they lie on this machine."""

    __tablename__ = "base_model"

    name: Mapped[str] = mapped_column(String(200), unique=True)
    source: Mapped[BaseModelSource] = mapped_column(TextEnum(BaseModelSource))
    location: Mapped[str] = mapped_column(String(1000), default="")
    """Hub id or folder as the admin gave it."""
    revision: Mapped[str] = mapped_column(String(100), default="")
    state: Mapped[BaseModelState] = mapped_column(TextEnum(BaseModelState))
    folder: Mapped[str] = mapped_column(String(1000), default="")
    weights_hash: Mapped[str] = mapped_column(String(64), default="")
    tokenizer_hash: Mapped[str] = mapped_column(String(64), default="")
    template_hash: Mapped[str] = mapped_column(String(64), default="")
    parameters: Mapped[int] = mapped_column(BigInteger, default=0)
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
