"""Suites: frozen, versioned sets of prompts."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import Domain
from app.models.types import Identified, Table, TextEnum


class Suite(Identified, Table):
    """One version of a suite. Never changed after import: a changed file becomes the next version."""

    __tablename__ = "suite"
    __table_args__ = (UniqueConstraint("name", "version"),)

    name: Mapped[str] = mapped_column(String(120))
    version: Mapped[int]
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(String(400))
    created_at: Mapped[datetime]


class Prompt(Identified, Table):
    """One input of a suite: a conversation that ends with the user."""

    __tablename__ = "prompt"
    __table_args__ = (UniqueConstraint("suite_id", "key"), UniqueConstraint("suite_id", "position"))

    suite_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("suite.id"))
    position: Mapped[int]
    key: Mapped[str] = mapped_column(String(120))
    category: Mapped[str] = mapped_column(String(60))
    domain: Mapped[Domain] = mapped_column(TextEnum(Domain))
    messages: Mapped[list[Any]]
    sha256: Mapped[str] = mapped_column(String(64))
    """Of the messages alone, so that equal prompts of two suites share their responses."""
