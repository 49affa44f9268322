"""The page of API tokens: make one, see it once, revoke it."""

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.domain.terms import TokenScope
from app.models import Account
from app.queries.tokens import TokensPage, token_rows
from app.services import tokens
from app.web.deps import AccountDep, NowDep, ReadDep, WriteDep
from app.web.render import render

router = APIRouter()


def _page(session: Session, viewer: Account, now: datetime) -> TokensPage:
    return TokensPage(
        rows=token_rows(session, now=now, account_id=viewer.id),
        scopes=tokens.SCOPES_OF[viewer.role],
        default_days=tokens.DEFAULT_DAYS,
        most_days=tokens.MOST_DAYS,
    )


@router.get("/account/tokens")
def token_list(request: Request, viewer: AccountDep, session: ReadDep, now: NowDep) -> Response:
    """The tokens of whoever is signed in, and the form for another."""
    return render(request, "tokens/page.html", page=_page(session, viewer, now))


@router.post("/account/tokens")
def make(
    request: Request,
    viewer: AccountDep,
    session: WriteDep,
    now: NowDep,
    name: Annotated[str, Form(max_length=tokens.LONGEST_NAME)],
    scopes: Annotated[tuple[TokenScope, ...], Form()] = (),
    days: Annotated[int, Form()] = tokens.DEFAULT_DAYS,
) -> Response:
    """Make a token. Answers with the token itself: nothing could show it after a redirect."""
    token, text = tokens.make(session, viewer, name, scopes, now=now, days=days)
    return render(request, "tokens/made.html", name=token.name, text=text, expires_at=token.expires_at)


@router.post("/account/tokens/{token_id}/revoke")
def revoke(viewer: AccountDep, session: WriteDep, now: NowDep, token_id: uuid.UUID) -> Response:
    """End a token of one's own at once."""
    tokens.revoke(session, token_id, now=now, account_id=viewer.id)
    return RedirectResponse("/account/tokens", status_code=303)
