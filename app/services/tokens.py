"""API tokens: a program acts for an account, within scopes. The secret leaves the arena once; only its hash stays."""

import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.db import Database
from app.domain.errors import BadInputError, ForbiddenError, NotFoundError, SignInRequiredError
from app.domain.terms import Role, TokenScope
from app.models import Account, ApiToken

DEFAULT_DAYS = 90
MOST_DAYS = 365
LONGEST_NAME = 120
SCOPES_OF = {Role.ADMIN: tuple(TokenScope), Role.RATER: (TokenScope.VOTE,)}
"""What the tokens of an account may do, by its role."""

_SHAPE = re.compile(r"arena_([0-9a-f]{32})_([A-Za-z0-9_-]{20,100})", re.ASCII)
_USED_EVERY = timedelta(minutes=1)
"""When a token was used is written down at most this often: requests of a busy client only read."""
_NO_TOKEN = hashlib.sha256(b"").hexdigest()
_REFUSED = (
    "This token is unknown, expired or revoked. Make a new one on the page “API tokens” or by ./arena tokens make."
)


@dataclass(frozen=True)
class Holder:
    """Whom a request acts for, and what its token allows."""

    token_id: uuid.UUID
    account_id: uuid.UUID
    voter_id: uuid.UUID
    role: Role
    scopes: frozenset[TokenScope]


def make(
    session: Session,
    account: Account,
    name: str,
    scopes: Collection[TokenScope],
    *,
    now: datetime,
    days: int = DEFAULT_DAYS,
) -> tuple[ApiToken, str]:
    """A new token, and the one text that a program sends; it cannot be shown again.

    Raises:
        BadInputError: no name, no scope, or a lifetime out of range.
        ForbiddenError: the account may not do what a scope allows, or is disabled.
    """
    name = " ".join(name.split())
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise BadInputError(f"A token needs a name of 1 to {LONGEST_NAME} letters, so that you know it again.")
    if not scopes:
        raise BadInputError("A token needs at least one scope. Choose what the program may do.")
    if not 1 <= days <= MOST_DAYS:
        raise BadInputError(f"A token lasts 1 to {MOST_DAYS} days. Nothing was made.")
    if account.disabled_at is not None:
        raise ForbiddenError(f"{account.name} is disabled, so no token was made. Enable the account first.")
    beyond = sorted(set(scopes) - set(SCOPES_OF[account.role]))
    if beyond:
        raise ForbiddenError(f"Only tokens of admins may have the scope {beyond[0]}. Nothing was made.")
    secret = secrets.token_urlsafe(32)
    token = ApiToken(
        account_id=account.id,
        name=name,
        secret_sha256=_sha256(secret),
        scopes=sorted({scope.value for scope in scopes}),
        created_at=now,
        expires_at=now + timedelta(days=days),
        last_used_at=None,
        revoked_at=None,
    )
    session.add(token)
    session.flush()
    return token, f"arena_{token.id.hex}_{secret}"


def revoke(session: Session, token_id: uuid.UUID, *, now: datetime, account_id: uuid.UUID | None = None) -> ApiToken:
    """Let no request with this token through any more; of this account only, if one is given.

    Raises:
        NotFoundError: there is no such token, or it is another account's (one sentence for both).
    """
    token = session.get(ApiToken, token_id, with_for_update=True)
    if token is None or (account_id is not None and token.account_id != account_id):
        raise NotFoundError("There is no such token. Nothing was changed.")
    token.revoked_at = token.revoked_at or now
    session.flush()
    return token


def authenticate(database: Database, sent: str, *, now: datetime) -> Holder:
    """Whose token this is. Reads; a write follows at most once a minute.

    Raises:
        SignInRequiredError: unknown, expired, revoked, or of a disabled account (one sentence for all).
    """
    parts = _SHAPE.fullmatch(sent)
    token_id = uuid.UUID(hex=parts[1]) if parts else None
    with database.session_scope(write=False) as session:
        found = session.execute(
            select(ApiToken, Account).join(Account, Account.id == ApiToken.account_id).where(ApiToken.id == token_id)
        ).one_or_none()
    token, account = found or (None, None)
    # Compared also where there is no such token, so that both take the same time.
    same = hmac.compare_digest(_sha256(parts[2] if parts else ""), token.secret_sha256 if token else _NO_TOKEN)
    if token is None or account is None or not same or token.revoked_at is not None or account.disabled_at is not None:
        raise SignInRequiredError(_REFUSED)
    if token.expires_at is not None and token.expires_at <= now:
        raise SignInRequiredError(_REFUSED)
    if token.last_used_at is None or token.last_used_at <= now - _USED_EVERY:
        _used(database, token.id, now)
    scopes = {TokenScope(scope) for scope in token.scopes} & set(SCOPES_OF[account.role])
    return Holder(token.id, account.id, account.voter_id, account.role, frozenset(scopes))


def _used(database: Database, token_id: uuid.UUID, now: datetime) -> None:
    """Of several requests at the same moment one writes."""
    with database.session_scope() as session:
        session.execute(
            update(ApiToken)
            .where(
                ApiToken.id == token_id,
                ApiToken.last_used_at.is_(None) | (ApiToken.last_used_at <= now - _USED_EVERY),
            )
            .values(last_used_at=now)
            .execution_options(synchronize_session=False)
        )


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
