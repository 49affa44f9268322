"""The own account, as its holder sees it."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.terms import Role
from app.models import Account, SignIn


@dataclass(frozen=True)
class AccountPage:
    """Who is signed in and how. ``asks_current``: whether a new password needs the present one beside it."""

    name: str
    role: Role
    has_password: bool
    asks_current: bool
    browsers: int
    """Signed in at this moment, this one among them."""
    created_at: datetime


def account_page(session: Session, account_id: uuid.UUID, *, came_by_link: bool, now: datetime) -> AccountPage:
    """The account of whoever asks."""
    account = session.get_one(Account, account_id)
    browsers = session.scalar(
        select(func.count(SignIn.id)).where(SignIn.account_id == account_id, SignIn.expires_at > now)
    )
    return AccountPage(
        name=account.name,
        role=account.role,
        has_password=bool(account.password_hash),
        asks_current=bool(account.password_hash) and not came_by_link,
        browsers=browsers or 0,
        created_at=account.created_at,
    )
