"""Judges, for admins: the list, adding one, what one has said, and its raw calls as a file."""

import json
import uuid
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from app.config import Settings
from app.db import Database
from app.domain.errors import ArenaError, NotFoundError
from app.domain.rubric import shipped_rubrics
from app.domain.terms import ProviderKind
from app.models import Judge
from app.providers.anthropic import CHEAP_MODEL, DEFAULT_MODELS
from app.providers.calls import ModelOffer
from app.queries.judges import Place, judge_page, judges_page, raw_calls
from app.services import judges
from app.web.deps import AdminDep, DatabaseDep, NowDep, ReadDep, SettingsDep, WantedDep, WriteDep
from app.web.judge_form import JudgeForm
from app.web.render import render

router = APIRouter()

SUGGESTED = (*DEFAULT_MODELS, CHEAP_MODEL)


@router.get("/judges")
def judge_list(request: Request, _: AdminDep, session: ReadDep, settings: SettingsDep, wanted: WantedDep) -> Response:
    """All judges."""
    page = judges_page(session, wanted, has_key=judges.has_key(settings))
    return render(request, "judges/page.html", page=page)


@router.get("/judges/list")
def judges_list(request: Request, _: AdminDep, session: ReadDep, settings: SettingsDep, wanted: WantedDep) -> Response:
    """The part of that page that changes by itself."""
    page = judges_page(session, wanted, has_key=judges.has_key(settings))
    return render(request, "judges/_list.html", page=page)


def _form(
    request: Request,
    settings: Settings,
    form: JudgeForm,
    offers: tuple[ModelOffer, ...] | None = None,
    problem: str = "",
) -> Response:
    return render(
        request,
        "judges/add.html",
        form=form,
        rubrics=shipped_rubrics(judges.RUBRICS),
        suggested=SUGGESTED if form.provider is ProviderKind.ANTHROPIC else (),
        has_key=judges.has_key(settings),
        offers=offers,
        problem=problem,
    )


@router.get("/judges/add")
def add_form(
    request: Request, _: AdminDep, settings: SettingsDep, provider: ProviderKind = ProviderKind.ANTHROPIC
) -> Response:
    """The form for a judge. It asks nobody: the list of models is fetched by a button."""
    return _form(request, settings, JudgeForm(provider=provider))


@router.post("/judges/models")
def judges_models(request: Request, _: AdminDep, settings: SettingsDep, form: Annotated[JudgeForm, Form()]) -> Response:
    """The form as it was filled in, with what the provider offers or why that is not known.

    A POST, so that no link of another site can make the arena send a key anywhere.
    """
    try:
        offers = judges.offers_of(form.provider, form.base_url, settings)
    except ArenaError as error:
        return _form(request, settings, form, problem=error.message)
    return _form(request, settings, form, offers)


@router.post("/judges")
def add(_: AdminDep, session: WriteDep, now: NowDep, form: Annotated[JudgeForm, Form()]) -> Response:
    """Store a judge."""
    rubric = judges.find_rubric(form.rubric)
    judge = judges.add_judge(
        session,
        form.name.strip() or f"{form.chosen_model} {rubric.name}".strip(),
        provider=form.provider,
        model=form.chosen_model,
        rubric=rubric,
        parameters=form.parameters(),
        base_url=form.base_url if form.provider is ProviderKind.OPENAI_COMPATIBLE else "",
        simulated=form.simulated,
        now=now,
    )
    return RedirectResponse(f"/judges/{judge.id}", status_code=303)


@router.get("/judges/rubrics/{name}")
def rubric(request: Request, _: AdminDep, name: str) -> Response:
    """A rubric that ships, in full."""
    return render(request, "judges/rubric.html", rubric=judges.find_rubric(name))


@router.get("/judges/{judge_id}")
def judge(request: Request, _: AdminDep, session: ReadDep, wanted: WantedDep, judge_id: uuid.UUID) -> Response:
    """One judge."""
    return render(request, "judges/one.html", page=judge_page(session, judge_id, wanted))


@router.get("/judges/{judge_id}/batches")
def judges_batches(request: Request, _: AdminDep, session: ReadDep, wanted: WantedDep, judge_id: uuid.UUID) -> Response:
    """The part of that page that changes by itself."""
    return render(request, "judges/_batches.html", page=judge_page(session, judge_id, wanted))


@router.get("/judges/{judge_id}/calls")
def calls(_: AdminDep, session: ReadDep, database: DatabaseDep, judge_id: uuid.UUID) -> Response:
    """Every call of a judge with its request and raw reply, one a line."""
    _stored(session, judge_id)
    headers = {"Content-Disposition": f'attachment; filename="calls-{judge_id}.jsonl"', "Cache-Control": "no-store"}
    return StreamingResponse(_lines(database, judge_id), media_type="application/jsonl; charset=utf-8", headers=headers)


def _lines(database: Database, judge_id: uuid.UUID) -> Iterator[str]:
    """The calls in chunks, each read in a transaction of its own: a slow reader holds none."""
    place: Place | None = None
    while True:
        with database.session_scope(write=False) as session:
            found, place = raw_calls(session, judge_id, place)
        if place is None:
            return
        yield "".join(json.dumps(call, ensure_ascii=False) + "\n" for call in found)


def _stored(session: ReadDep, judge_id: uuid.UUID) -> Judge:
    stored = session.get(Judge, judge_id)
    if stored is None:
        raise NotFoundError("There is no such judge. The page Judges shows what exists.")
    return stored


@router.post("/judges/{judge_id}/retire")
def retire(_: AdminDep, session: WriteDep, now: NowDep, judge_id: uuid.UUID) -> Response:
    """Offer a judge for no new eval batch. What it said stays."""
    judges.set_retired(_stored(session, judge_id), retired=True, now=now)
    return RedirectResponse(f"/judges/{judge_id}", status_code=303)


@router.post("/judges/{judge_id}/restore")
def restore(_: AdminDep, session: WriteDep, now: NowDep, judge_id: uuid.UUID) -> Response:
    """Offer it again."""
    judges.set_retired(_stored(session, judge_id), retired=False, now=now)
    return RedirectResponse(f"/judges/{judge_id}", status_code=303)
