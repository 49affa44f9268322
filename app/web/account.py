"""The own account: how one signs in, the password, the browsers that are signed in."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from app.domain.errors import BadInputError
from app.queries.account import account_page
from app.services import accounts, passwords
from app.web.deps import AccountDep, DatabaseDep, NowDep, ReadDep, SessionTokenDep
from app.web.limits import LimitsDep
from app.web.render import render

router = APIRouter()


@router.get("/account")
def account(
    request: Request,
    viewer: AccountDep,
    session: ReadDep,
    now: NowDep,
    token: SessionTokenDep,
    changed: bool = False,  # noqa: FBT001, FBT002 (where the form leads back to)
) -> Response:
    """Who I am here and how I sign in."""
    page = account_page(session, viewer.id, came_by_link=accounts.came_by_link(session, token, now=now), now=now)
    return render(request, "account/page.html", page=page, changed=changed, shortest=passwords.SHORTEST)


@router.post("/account/password")
def change_password(
    viewer: AccountDep,
    database: DatabaseDep,
    limits: LimitsDep,
    now: NowDep,
    token: SessionTokenDep,
    password: Annotated[str, Form(max_length=4000)] = "",
    again: Annotated[str, Form(max_length=4000)] = "",
    current: Annotated[str, Form(max_length=4000)] = "",
) -> Response:
    """Set or change the password; every other browser is signed out. No transaction is open while it is hashed."""
    limits.hit("sign_in", viewer.name)
    if password != again:
        raise BadInputError("The two new passwords differ, so nothing was changed. Type the same one twice.")
    with database.session_scope(write=False) as session:
        by_link = accounts.came_by_link(session, token, now=now)
    if viewer.password_hash and not by_link:
        passwords.require_current(viewer.password_hash, current)
    new_hash = passwords.hashed(password)
    with database.session_scope() as session:
        passwords.change(session, viewer.id, new_hash, keep=token)
    return RedirectResponse("/account?changed=true", status_code=303)
