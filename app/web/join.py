"""Joining a comparison by an invite: one name, one click."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from app.domain.blinding import seal
from app.domain.errors import ForbiddenError
from app.queries.join import join_page
from app.services import accounts, invites
from app.web.deps import MaybeAccountDep, NowDep, ReadDep, SettingsDep, WriteDep
from app.web.enter import session_lifetime, signed_in_as
from app.web.limits import limited
from app.web.render import render

router = APIRouter()


@router.get("/join/{token}", dependencies=[limited("join")])
def join(request: Request, account: MaybeAccountDep, session: ReadDep, now: NowDep, token: str) -> Response:
    """What is asked, and a button. Opening the page uses nothing up: chat programs fetch links ahead."""
    try:
        opened = invites.open_invite(session, token, account, now=now)
    except ForbiddenError as error:
        return _refused(request, error)
    page = join_page(session, opened.invite.id, joined=opened.seat is not None, closed=opened.closed)
    return render(request, "join/page.html", page=page, form=secrets.token_urlsafe(24))


@router.post("/join/{token}", dependencies=[limited("join")])
def take_seat(
    request: Request,
    account: MaybeAccountDep,
    session: WriteDep,
    settings: SettingsDep,
    now: NowDep,
    token: str,
    name: Annotated[str, Form(max_length=400)] = "",
    form: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Take a seat, as the account that is signed in or as a new rater, and go to the first pair.

    What session a form opens follows from the form, so that a second click opens the same one. Without the key of the
    arena nobody can tell it.
    """
    opens = seal(settings.secret_key(), "join", token, form or secrets.token_urlsafe(24))
    try:
        joined, seat = invites.join(session, token, account, name=name, now=now, opens=opens)
    except ForbiddenError as error:
        return _refused(request, error)
    path = f"/vote/{seat.eval_batch_id}"
    if account is not None:
        return RedirectResponse(path, status_code=303)
    if accounts.account_of(session, opens, now=now) is None:
        accounts.open_session(session, joined.id, now=now, lifetime=session_lifetime(settings), token=opens)
    return signed_in_as(request, opens, path, settings)


def _refused(request: Request, error: ForbiddenError) -> Response:
    return render(request, "join/refused.html", status=error.status, message=error.message)
