"""Accounts, and what opens them: sign-ins, links, invites, API tokens. Only hashes of tokens are stored."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import Role
from app.models.types import Identified, Table, TextEnum


class Account(Identified, Table):
    """Somebody who may sign in; votes as its voter."""

    __tablename__ = "account"

    name: Mapped[str] = mapped_column(String(120), unique=True)
    role: Mapped[Role] = mapped_column(TextEnum(Role))
    voter_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("voter.id"), unique=True)
    password_hash: Mapped[str] = mapped_column(String(200), default="")
    """Argon2; empty: this account signs in by link only."""
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    """Since when it may not sign in. Its votes stay."""


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


class Invite(Identified, Table):
    """A link by which people join one eval batch as raters, with one name and one click."""

    __tablename__ = "invite"

    eval_batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("eval_batch.id"), index=True)
    title: Mapped[str] = mapped_column(String(120))
    """What raters are told they join. Never the name of the eval batch: those may name checkpoints."""
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    most_uses: Mapped[int]
    uses: Mapped[int] = mapped_column(default=0)
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Seat(Identified, Table):
    """A rater's place in one eval batch. Without one only admins may vote on it."""

    __tablename__ = "seat"
    __table_args__ = (UniqueConstraint("eval_batch_id", "voter_id"),)

    eval_batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("eval_batch.id"))
    voter_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("voter.id"), index=True)
    invite_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("invite.id"), index=True)
    title: Mapped[str] = mapped_column(String(120))
    joined_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    """Since when this rater gets no more ballots here. The votes stay."""


class ApiToken(Identified, Table):
    """Lets a program act for an account, within scopes. The program sends ``id.secret``; only a hash is stored."""

    __tablename__ = "api_token"

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"), index=True)
    name: Mapped[str] = mapped_column(String(120))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[Any]]
    """Values of ``TokenScope``."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
