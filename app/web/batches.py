"""Eval batches: launch, progress, close."""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app import jobs
from app.domain.errors import ArenaError, NotFoundError
from app.domain.terms import ProviderKind
from app.models import EvalBatch, Judge
from app.queries.batches import batch_page, batches_page, launch_page
from app.queries.judges import judge_rows
from app.queries.judging import judges_of_batch
from app.services import eval_batches, planning, reruns, simulation
from app.services.judges import has_key
from app.services.launching import look_at_server
from app.services.planning import Planned
from app.web.deps import AdminDep, DatabaseDep, NowDep, ReadDep, RulesDep, SettingsDep, WantedDep, WriteDep
from app.web.judging import caps_to_go_on
from app.web.launch_form import LaunchForm, PlanForm, first_form
from app.web.render import render

router = APIRouter()


@router.get("/batches")
def batches(request: Request, _: AdminDep, session: ReadDep, wanted: WantedDep) -> Response:
    """All eval batches."""
    return render(request, "batches/page.html", page=batches_page(session, wanted))


@router.get("/batches/list")
def batches_list(request: Request, _: AdminDep, session: ReadDep, wanted: WantedDep) -> Response:
    """The part of that page that changes by itself."""
    return render(request, "batches/_list.html", page=batches_page(session, wanted))


@router.get("/batches/launch")
def batches_launch(
    request: Request, _: AdminDep, session: ReadDep, now: NowDep, asked: Annotated[PlanForm, Query()]
) -> Response:
    """The launch form with the plan that it makes. With fields in the address, as they were filled in."""
    page = launch_page(session)
    form = asked if request.query_params else first_form(page)
    plan, problem, status = None, "", HTTPStatus.OK
    try:
        plan = _planned(session, form, now)
    except ArenaError as error:
        problem, status = error.message, error.status
    return render(
        request,
        "batches/launch.html",
        status=status,
        page=page,
        form=form,
        offered=judge_rows(session, Judge.retired_at.is_(None), Judge.provider != ProviderKind.IMPORTED),
        plan=plan,
        problem=problem,
    )


@router.get("/batches/plan")
def batches_plan(
    request: Request, _: AdminDep, session: ReadDep, now: NowDep, form: Annotated[PlanForm, Query()]
) -> Response:
    """What the plan in the form would cost and could find out."""
    return render(request, "batches/_plan.html", plan=_planned(session, form, now), problem="")


def _planned(session: Session, form: PlanForm, now: datetime) -> Planned | None:
    """``None`` as long as nothing is chosen."""
    if not any(form.challengers):
        return None
    judges = [session.get(Judge, judge_id) for judge_id in dict.fromkeys(form.judges)]
    if None in judges:
        raise NotFoundError("There is no such judge. The page Judges shows what exists.")
    return planning.plan(
        session,
        form.plan(),
        judges=[judge for judge in judges if judge is not None],
        in_batches=form.in_batches,
        seconds_per_vote=form.seconds_per_vote,
        now=now,
    )


@router.post("/batches")
def launch(
    _: AdminDep,
    database: DatabaseDep,
    settings: SettingsDep,
    rules: RulesDep,
    now: NowDep,
    form: Annotated[LaunchForm, Form()],
) -> Response:
    """Freeze the plan and queue its generation. A server is asked first, while no transaction is open."""
    plan = form.plan()
    look_at_server(database, plan, settings)
    with database.session_scope() as session:
        batch = eval_batches.launch(session, plan, secret=rules.secret, now=now)
    return RedirectResponse(f"/batches/{batch.id}", status_code=303)


@router.get("/batches/{batch_id}")
def batch(
    request: Request, _: AdminDep, session: ReadDep, settings: SettingsDep, now: NowDep, batch_id: uuid.UUID
) -> Response:
    """One eval batch."""
    panel = judges_of_batch(session, batch_id, has_key=has_key(settings))
    caps = caps_to_go_on(session, panel, now)
    return render(request, "batches/one.html", page=batch_page(session, batch_id), panel=panel, caps=caps)


@router.get("/batches/{batch_id}/progress")
def batch_progress(request: Request, _: AdminDep, session: ReadDep, batch_id: uuid.UUID) -> Response:
    """The part of that page that changes by itself."""
    return render(request, "batches/_progress.html", page=batch_page(session, batch_id))


def _stored(session: WriteDep, batch_id: uuid.UUID) -> EvalBatch:
    stored = session.get(EvalBatch, batch_id)
    if stored is None:
        raise NotFoundError("There is no such eval batch. The list of eval batches shows what exists.")
    return stored


@router.post("/batches/{batch_id}/close")
def close(_: AdminDep, session: WriteDep, now: NowDep, batch_id: uuid.UUID) -> Response:
    """End voting for good."""
    eval_batches.close(session, _stored(session, batch_id), now=now)
    return RedirectResponse(f"/batches/{batch_id}", status_code=303)


@router.post("/batches/{batch_id}/rerun")
def rerun(_: AdminDep, session: WriteDep, rules: RulesDep, now: NowDep, batch_id: uuid.UUID) -> Response:
    """Launch the same plan with new seeds."""
    again = reruns.rerun(session, _stored(session, batch_id), secret=rules.secret, now=now)
    return RedirectResponse(f"/batches/{again.id}", status_code=303)


@router.post("/batches/{batch_id}/simulated/remove")
def remove_simulated(_: AdminDep, session: WriteDep, batch_id: uuid.UUID) -> Response:
    """Take every simulated vote out of the batch."""
    simulation.remove(session, _stored(session, batch_id))
    return RedirectResponse(f"/batches/{batch_id}", status_code=303)


@router.post("/batches/{batch_id}/retry")
def retry(_: AdminDep, session: WriteDep, now: NowDep, batch_id: uuid.UUID) -> Response:
    """Go on with a generation that failed or was cancelled."""
    stored = _stored(session, batch_id)
    if stored.job_id is None:
        raise NotFoundError("This eval batch has no job to try again.")
    jobs.retry(session, stored.job_id, now=now)
    return RedirectResponse(f"/batches/{batch_id}", status_code=303)
