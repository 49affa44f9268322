"""Accounts, sign-ins and the one-time links that open them. Only hashes of tokens are stored."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import Role
from app.models.types import Identified, Table, TextEnum


class Account(Identified, Table):
    """Somebody who may sign in; votes as its voter."""

    __tablename__ = "account"

    name: Mapped[str] = mapped_column(String(120), unique=True)
    role: Mapped[Role] = mapped_column(TextEnum(Role))
    voter_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("voter.id"), unique=True)
    created_at: Mapped[datetime]


class SignIn(Identified, Table):
    """One browser that is signed in. Deleting the row ends it."""

    __tablename__ = "sign_in"

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"))
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class EntryLink(Identified, Table):
    """A one-time link that signs its holder in."""

    __tablename__ = "entry_link"

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"))
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
