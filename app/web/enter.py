"""Signing in, with a password or a one-time link, and out."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from app.config import Settings
from app.domain.errors import ForbiddenError
from app.services import accounts, passwords
from app.web.deps import (
    COOKIE,
    AccountDep,
    DatabaseDep,
    MaybeAccountDep,
    NowDep,
    SessionTokenDep,
    SettingsDep,
    WriteDep,
)
from app.web.limits import LimitsDep, address_of, limited
from app.web.local import local_path
from app.web.render import render

router = APIRouter()

Next = Annotated[str, Query(alias="next", max_length=4000)]


def session_lifetime(settings: Settings) -> timedelta:
    """How long a sign-in lasts."""
    return timedelta(days=settings.session_days)


def signed_in_as(request: Request, token: str, path: str, settings: Settings) -> Response:
    """Go to a page with a session of which the browser keeps the token."""
    response = RedirectResponse(path, status_code=303)
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(session_lifetime(settings).total_seconds()),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


def _signed_out() -> Response:
    response = RedirectResponse("/enter", status_code=303)
    response.delete_cookie(COOKIE)
    return response


@router.get("/enter")
def sign_in_page(request: Request, _: MaybeAccountDep, next_path: Next = "/") -> Response:
    """Name and password, and a word about links."""
    return render(request, "enter/sign_in.html", next_path=local_path(next_path), name="", problem="")


@router.post("/enter", dependencies=[limited("sign_in_address")])
def sign_in(
    request: Request,
    database: DatabaseDep,
    settings: SettingsDep,
    limits: LimitsDep,
    now: NowDep,
    before: SessionTokenDep,
    name: Annotated[str, Form(max_length=400)] = "",
    password: Annotated[str, Form(max_length=4000)] = "",
    next_path: Annotated[str, Form(alias="next", max_length=4000)] = "/",
) -> Response:
    """Open a session for whom name and password fit. No transaction is open while they are compared."""
    limits.hit("sign_in", f"{address_of(request)} {name.strip()}")  # a stranger elsewhere keeps nobody out
    limits.hit("sign_in_name", name.strip())
    path = local_path(next_path)
    try:
        with database.session_scope(write=False) as session:
            found = passwords.known(session, name)
        passwords.check(found, password)
        with database.session_scope() as session:
            accounts.leave(session, before)
            token = passwords.sign_in(session, found, now=now, lifetime=session_lifetime(settings))
    except ForbiddenError as error:
        return render(
            request, "enter/sign_in.html", status=error.status, next_path=path, name=name, problem=error.message
        )
    return signed_in_as(request, token, path, settings)


@router.get("/enter/{token}")
def enter_page(request: Request, _: MaybeAccountDep, token: str) -> Response:
    """A button, not an automatic entry: browsers and chat programs fetch links ahead and would use it up."""
    return render(request, "enter/page.html", token=token)


@router.post("/enter/{token}", dependencies=[limited("sign_in_address")])
def enter(
    request: Request, token: str, session: WriteDep, settings: SettingsDep, now: NowDep, before: SessionTokenDep
) -> Response:
    """Use the link up and open a session."""
    session_token = accounts.enter(session, token, now=now, lifetime=session_lifetime(settings))
    accounts.leave(session, before)
    return signed_in_as(request, session_token, "/", settings)


@router.post("/leave")
def leave(session: WriteDep, token: SessionTokenDep) -> Response:
    """End this browser's session."""
    accounts.leave(session, token)
    return _signed_out()


@router.post("/leave/everywhere")
def leave_everywhere(account: AccountDep, session: WriteDep) -> Response:
    """End every session of the account, this one among them."""
    accounts.leave_everywhere(session, account.id)
    return _signed_out()
