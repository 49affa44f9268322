"""Programs that ask the API: accounts with tokens, and clients that send them."""

import uuid
from datetime import UTC, datetime

from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.domain.terms import Role, TokenScope
from app.models import Account, EvalBatch
from app.services import accounts, tokens
from tests.factories import make_account, visitor


def token_for(
    app: FastAPI, account_id: uuid.UUID | None = None, *scopes: TokenScope, now: datetime | None = None, days: int = 90
) -> str:
    """A token of this account, or of the admin; by default with every scope that it may have."""
    now = now or datetime.now(UTC)
    with app.state.database.session_scope() as session:
        account = session.get_one(Account, account_id) if account_id else accounts.the_admin(session, now=now)
        _, text = tokens.make(
            session, account, "a test", scopes or tokens.SCOPES_OF[account.role], now=now, days=days
        )  # fmt: skip
    return text


def program(app: FastAPI, token: str) -> TestClient:
    """A program that sends this token."""
    client = visitor(app)
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def seated(app: FastAPI, name: str, *batches: EvalBatch) -> TestClient:
    """A rater's program, with a seat in these eval batches."""
    with app.state.database.session_scope() as session:
        account = make_account(session, name, Role.RATER, seat_in=batches[0] if batches else None)
        account_id = account.id
    return program(app, token_for(app, account_id))
