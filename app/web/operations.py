"""Background work and health."""

import uuid

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from app import jobs
from app.queries.jobs import jobs_page
from app.queries.settings import settings_page
from app.web.deps import AdminDep, NowDep, ReadDep, SettingsDep, WantedDep, WriteDep
from app.web.render import render, setup_state

router = APIRouter()


@router.get("/jobs")
def job_list(
    request: Request, _: AdminDep, session: ReadDep, settings: SettingsDep, now: NowDep, wanted: WantedDep
) -> Response:
    """Everything in the background."""
    page = jobs_page(session, wanted, now=now, stale_seconds=settings.stale_seconds)
    return render(request, "jobs/page.html", page=page)


@router.get("/jobs/table")
def jobs_table(
    request: Request, _: AdminDep, session: ReadDep, settings: SettingsDep, now: NowDep, wanted: WantedDep
) -> Response:
    """The part of that page that changes by itself."""
    page = jobs_page(session, wanted, now=now, stale_seconds=settings.stale_seconds)
    return render(request, "jobs/_table.html", page=page)


@router.post("/jobs/{job_id}/cancel")
def cancel(_: AdminDep, session: WriteDep, now: NowDep, job_id: uuid.UUID) -> Response:
    """Ask a job to stop."""
    jobs.request_cancel(session, job_id, now=now)
    return RedirectResponse("/jobs", status_code=303)


@router.post("/jobs/{job_id}/retry")
def retry(_: AdminDep, session: WriteDep, now: NowDep, job_id: uuid.UUID) -> Response:
    """Go on with a job that failed or was cancelled."""
    jobs.retry(session, job_id, now=now)
    return RedirectResponse("/jobs", status_code=303)


@router.get("/settings")
def settings(request: Request, _: AdminDep, session: ReadDep, settings: SettingsDep, now: NowDep) -> Response:
    """Health and the settings in force."""
    page = settings_page(session, settings, now=now, setup=setup_state(request))
    return render(request, "settings/page.html", page=page)
