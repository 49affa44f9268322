"""Bringing checkpoints from elsewhere, watching their check, and letting them go."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from app.domain.errors import NotFoundError
from app.domain.terms import Keep
from app.models import Checkpoint, Run
from app.queries.intake import add_page, intake_row
from app.services.intake import add_intake, find_intake
from app.services.removal import clean_run, delete_checkpoint, forget_upload
from app.web.checkpoint_form import LIMIT, SentCheckpointDep
from app.web.deps import AdminDep, NowDep, ReadDep, SettingsDep, WriteDep
from app.web.render import render

router = APIRouter()


@router.get("/checkpoints/add")
def add(request: Request, _: AdminDep, session: ReadDep) -> Response:
    """The form, and what was sent lately."""
    return render(request, "checkpoints/add.html", page=add_page(session))


@router.post("/checkpoints/add", max_body_size=LIMIT)
def send(sent: SentCheckpointDep, account: AdminDep, session: WriteDep, now: NowDep) -> Response:
    """Queue the check of what was sent."""
    name, base = (sent.fields.get(field, "") for field in ("name", "base"))
    intake = add_intake(session, sent.kept, now=now, name=name, base=base, account_id=account.id)
    return RedirectResponse(f"/checkpoints/uploads/{intake.id}", status_code=303)


@router.get("/checkpoints/uploads/{intake_id}")
def upload(request: Request, _: AdminDep, session: ReadDep, intake_id: uuid.UUID) -> Response:
    """How far one upload is, and what came of it."""
    return render(request, "checkpoints/upload.html", page=intake_row(session, intake_id))


@router.get("/checkpoints/uploads/{intake_id}/check")
def upload_check(request: Request, _: AdminDep, session: ReadDep, intake_id: uuid.UUID) -> Response:
    """The part of that page that changes by itself."""
    return render(request, "checkpoints/_check.html", page=intake_row(session, intake_id))


@router.post("/checkpoints/uploads/{intake_id}/forget")
def forget(_: AdminDep, session: WriteDep, settings: SettingsDep, intake_id: uuid.UUID) -> Response:
    """Remove an upload that is not being checked, with its files."""
    forget_upload(session, find_intake(session, intake_id), artifacts=settings.artifacts)
    return RedirectResponse("/checkpoints/add", status_code=303)


@router.post("/checkpoints/{checkpoint_id}/delete")
def delete(_: AdminDep, session: WriteDep, now: NowDep, settings: SettingsDep, checkpoint_id: uuid.UUID) -> Response:
    """Forget a checkpoint that no result depends on."""
    checkpoint = session.get(Checkpoint, checkpoint_id)
    if checkpoint is None:
        raise NotFoundError("There is no such checkpoint. The list of checkpoints shows what exists.")
    delete_checkpoint(session, checkpoint, artifacts=settings.artifacts, now=now)
    return RedirectResponse("/checkpoints", status_code=303)


@router.get("/runs/{run_id}/clean")
def cleaning(
    request: Request, _: AdminDep, session: ReadDep, now: NowDep, settings: SettingsDep, run_id: uuid.UUID,
    keep: Keep = Keep.BEST,
) -> Response:  # fmt: skip
    """What a clean-up of this run would delete, and what would stay."""
    run = _run(session.get(Run, run_id))
    done = clean_run(session, run, artifacts=settings.artifacts, now=now, keep=keep, dry_run=True)
    return render(request, "checkpoints/clean.html", page=done, run=run, keep=keep)


@router.post("/runs/{run_id}/clean")
def clean(
    _: AdminDep, session: WriteDep, now: NowDep, settings: SettingsDep, run_id: uuid.UUID,
    keep: Annotated[Keep, Form()] = Keep.BEST,
) -> Response:  # fmt: skip
    """Delete the checkpoints of a run but the best or the last, and those that a result depends on."""
    clean_run(session, _run(session.get(Run, run_id)), artifacts=settings.artifacts, now=now, keep=keep)
    return RedirectResponse(f"/runs/{run_id}", status_code=303)


def _run(run: Run | None) -> Run:
    if run is None:
        raise NotFoundError("There is no such run. The list of runs shows what exists.")
    return run
