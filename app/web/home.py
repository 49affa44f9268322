"""The first page, and the small things every page uses."""

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from app.domain.terms import Role
from app.queries.desk import desk_page
from app.queries.home import home_page
from app.web.deps import AccountDep, AdminDep, NowDep, ReadDep, SettingsDep, WantedDep
from app.web.render import render

router = APIRouter()


@router.get("/")
def home(
    request: Request, account: AccountDep, session: ReadDep, settings: SettingsDep, now: NowDep, wanted: WantedDep
) -> Response:
    """What runs, what waits, what came out, what to do next; for a rater, the comparisons to vote on."""
    if account.role is not Role.ADMIN:
        return render(request, "desk/page.html", page=desk_page(session, account.voter_id, wanted))
    page = home_page(session, now=now, stale_seconds=settings.stale_seconds)
    return render(request, "home/page.html", page=page)


@router.get("/home/live")
def home_live(request: Request, _: AdminDep, session: ReadDep, settings: SettingsDep, now: NowDep) -> Response:
    """The part of the first page that changes by itself."""
    page = home_page(session, now=now, stale_seconds=settings.stale_seconds)
    return render(request, "home/_live.html", page=page)


@router.get("/setup/strip")
def setup_strip(request: Request, _: AdminDep) -> Response:
    """How far the installation of the training extra is."""
    return render(request, "setup/_strip.html")


@router.get("/healthz")
def healthz() -> Response:
    """Whether this process answers."""
    return PlainTextResponse("ok")
