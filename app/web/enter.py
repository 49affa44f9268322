"""Signing in with a one-time link, and out."""

from datetime import timedelta

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from app.services import accounts
from app.web.deps import COOKIE, NowDep, SettingsDep, WriteDep
from app.web.render import render

router = APIRouter()


@router.get("/enter/{token}")
def enter_page(request: Request, token: str) -> Response:
    """A button, not an automatic entry: browsers and chat programs fetch links ahead and would use it up."""
    return render(request, "enter/page.html", token=token)


@router.post("/enter/{token}")
def enter(request: Request, token: str, session: WriteDep, settings: SettingsDep, now: NowDep) -> Response:
    """Use the link up and open a session."""
    lifetime = timedelta(days=settings.session_days)
    session_token = accounts.enter(session, token, now=now, lifetime=lifetime)
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(
        COOKIE,
        session_token,
        max_age=int(lifetime.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/leave")
def leave(request: Request, session: WriteDep) -> Response:
    """End this browser's session."""
    accounts.leave(session, request.cookies.get(COOKIE, ""))
    response = RedirectResponse("/", status_code=303)
    response.delete_cookie(COOKIE)
    return response
