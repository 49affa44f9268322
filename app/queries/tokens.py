"""API tokens, as their page and the command line show them; never a secret."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.terms import TokenScope
from app.models import Account, ApiToken


@dataclass(frozen=True)
class TokenView:
    """One token: whose it is, what it may do and until when."""

    id: uuid.UUID
    account: str
    name: str
    scopes: tuple[TokenScope, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    state: str
    """``active``, ``expired`` or ``revoked``."""


@dataclass(frozen=True)
class TokensPage:
    """The tokens of one account, newest first, and the scopes it may give."""

    rows: tuple[TokenView, ...]
    scopes: tuple[TokenScope, ...]
    default_days: int
    most_days: int


def token_rows(session: Session, *, now: datetime, account_id: uuid.UUID | None = None) -> tuple[TokenView, ...]:
    """Tokens, newest first: of one account, or all."""
    query = select(ApiToken, Account.name).join(Account, Account.id == ApiToken.account_id)
    if account_id is not None:
        query = query.where(ApiToken.account_id == account_id)
    rows = session.execute(query.order_by(ApiToken.created_at.desc(), ApiToken.id))
    return tuple(_view(token, name, now) for token, name in rows)


def _view(token: ApiToken, account: str, now: datetime) -> TokenView:
    over = token.expires_at is not None and token.expires_at <= now
    return TokenView(
        id=token.id,
        account=account,
        name=token.name,
        scopes=tuple(TokenScope(scope) for scope in token.scopes),
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        revoked_at=token.revoked_at,
        state="revoked" if token.revoked_at is not None else "expired" if over else "active",
    )
