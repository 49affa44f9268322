"""Runs and the checkpoints they write."""

import uuid
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from app import jobs
from app.config import DATA
from app.domain.errors import NotFoundError
from app.domain.recipes import find_recipe, read_mix, shipped_recipes
from app.domain.terms import Axis
from app.machine import find_machine
from app.models import Run
from app.queries.checkpoints import checkpoint_page, checkpoints_page
from app.queries.curves import View, curves
from app.queries.intake import uploads_of
from app.queries.model_card import model_card
from app.queries.packages import packages_of
from app.queries.perplexities import of_checkpoint
from app.queries.run_log import log_tail, log_text
from app.queries.runs import run_page, runs_page
from app.queries.training_memory import memory_of_recipes, memory_of_run
from app.queries.trajectory import trajectories
from app.services import runs as run_service
from app.web.curves import run_series, ways
from app.web.deps import AdminDep, NowDep, ReadDep, SettingsDep, ViewDep, WantedDep, WriteDep
from app.web.downloads import attachment
from app.web.model_card import card_of
from app.web.render import render

router = APIRouter()
RECIPES = DATA / "recipes"


@router.get("/runs")
def runs(request: Request, _: AdminDep, session: ReadDep, wanted: WantedDep, settings: SettingsDep) -> Response:
    """All runs and the form to start one."""
    recipes = shipped_recipes(RECIPES)
    memory = memory_of_recipes(session, recipes, find_machine(settings.device))
    return render(request, "runs/page.html", page=runs_page(session, recipes, wanted), memory=memory)


@router.get("/runs/list")
def runs_list(request: Request, _: AdminDep, session: ReadDep, wanted: WantedDep) -> Response:
    """The part of that page that changes by itself."""
    return render(request, "runs/_list.html", page=runs_page(session, shipped_recipes(RECIPES), wanted))


@router.post("/runs")
def launch_run(
    _: AdminDep,
    session: WriteDep,
    now: NowDep,
    recipe: Annotated[str, Form(max_length=200)],
    dataset: Annotated[str, Form(max_length=200)] = "",
    mixed: Annotated[list[str], Form(max_length=200)] = [],  # noqa: B006 - read, never changed
    weight: Annotated[list[str], Form(max_length=200)] = [],  # noqa: B006
    base_model: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Start a run of a shipped recipe, or the runs of one that is a sweep.

    ``mixed`` names datasets and ``weight`` says at the same place how often an epoch sees each; empty: not at all.
    """
    if recipe.endswith(".toml"):
        raise NotFoundError("From the page only the shipped recipes can be started; ./arena train takes any file.")
    found = find_recipe(RECIPES, recipe)
    mix = read_mix([f"{name}={often.strip()}" for name, often in zip(mixed, weight, strict=False) if often.strip()])
    launched = run_service.launch_sweep(session, found, now=now, dataset=dataset, mix=mix, base=base_model)
    return RedirectResponse(f"/runs/{launched[0].id}" if len(launched) == 1 else "/runs", status_code=303)


@router.get("/runs/{run_id}")
def run(
    request: Request, _: AdminDep, session: ReadDep, settings: SettingsDep, run_id: uuid.UUID, view: ViewDep
) -> Response:
    """One run."""
    moving = _moving(session, run_id, view)
    told, log = trajectories(session, run_id), log_tail(session, run_id)
    memory = memory_of_run(session, run_id, find_machine(settings.device))
    return render(request, "runs/one.html", **moving, trajectories=told, log=log, memory=memory)


@router.get("/runs/{run_id}/progress")
def run_progress(request: Request, _: AdminDep, session: ReadDep, run_id: uuid.UUID, view: ViewDep) -> Response:
    """The part of that page that changes by itself."""
    return render(request, "runs/_progress.html", **_moving(session, run_id, view))


def _moving(session: Session, run_id: uuid.UUID, view: View) -> dict[str, Any]:
    """A run with its curves, for the page and for the part of it that moves."""
    page, view = run_page(session, run_id), replace(view, axis=Axis.STEPS)
    job = page.run.job
    planned = page.total_steps if job is not None and job.unfinished else 0  # what has ended goes no further
    shown = curves(session, [run_id], view, last=planned)
    return {"page": page, "shown": shown, "series": run_series(shown), "ways": ways(shown, f"/runs/{run_id}")}


@router.get("/runs/{run_id}/log")
def run_log(request: Request, _: AdminDep, session: ReadDep, run_id: uuid.UUID) -> Response:
    """The last lines of what the run said."""
    return render(request, "runs/_log.html", log=log_tail(session, run_id))


@router.get("/runs/{run_id}/log.txt")
def run_log_text(_: AdminDep, session: ReadDep, run_id: uuid.UUID) -> Response:
    """All of it, to keep or to send."""
    return PlainTextResponse(log_text(session, run_id), headers={"Cache-Control": "no-store"})


@router.get("/runs/{run_id}/preview")
def run_preview(request: Request, _: AdminDep, session: ReadDep, run_id: uuid.UUID) -> Response:
    """What is learned of the first rows, which is known once the training has begun."""
    return render(request, "runs/_preview.html", page=run_page(session, run_id))


@router.post("/runs/{run_id}/cancel")
def cancel_run(_: AdminDep, session: WriteDep, now: NowDep, run_id: uuid.UUID) -> Response:
    """Ask the training to stop."""
    stored = session.get(Run, run_id)
    if stored is None:
        raise NotFoundError("There is no such run. The list of runs shows what exists.")
    run_service.cancel_run(session, stored, now=now)
    return RedirectResponse(f"/runs/{run_id}", status_code=303)


@router.post("/runs/{run_id}/retry")
def retry_run(_: AdminDep, session: WriteDep, now: NowDep, run_id: uuid.UUID) -> Response:
    """Train a failed or cancelled run again."""
    stored = session.get(Run, run_id)
    if stored is None or stored.job_id is None:
        raise NotFoundError("There is no such run. The list of runs shows what exists.")
    jobs.retry(session, stored.job_id, now=now)
    return RedirectResponse(f"/runs/{run_id}", status_code=303)


@router.get("/checkpoints")
def checkpoints(request: Request, _: AdminDep, session: ReadDep, wanted: WantedDep) -> Response:
    """All checkpoints."""
    return render(request, "checkpoints/page.html", page=checkpoints_page(session, wanted))


@router.get("/checkpoints/{checkpoint_id}/card.md")
def checkpoint_card(_: AdminDep, session: ReadDep, checkpoint_id: uuid.UUID) -> Response:
    """Its model card, as the README.md of a model repository."""
    headers = attachment("README.md")
    content = card_of(model_card(session, checkpoint_id))
    return Response(content, media_type="text/markdown; charset=utf-8", headers=headers)


@router.get("/checkpoints/{checkpoint_id}")
def checkpoint(request: Request, _: AdminDep, session: ReadDep, checkpoint_id: uuid.UUID) -> Response:
    """One checkpoint with its lineage."""
    page, uploads = checkpoint_page(session, checkpoint_id), uploads_of(session, checkpoint_id)
    measured, packages = of_checkpoint(session, checkpoint_id), packages_of(session, checkpoint_id)
    return render(request, "checkpoints/one.html", page=page, uploads=uploads, measured=measured, packages=packages)
