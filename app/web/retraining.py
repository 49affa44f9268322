"""Training a run again with changes."""

import uuid
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.domain.errors import BadInputError, ConflictError, NotFoundError
from app.queries.retraining import Retraining, retraining
from app.services.runs import launch_sweep, next_name
from app.web.again_form import FIELDS, AgainForm, Read, filled_form, first_form, read_form
from app.web.deps import AdminDep, NowDep, ReadDep, WriteDep
from app.web.render import render

router = APIRouter()


async def get_sent(request: Request) -> dict[str, str]:
    """The form as it is: a field that was emptied is one that says nothing, not one that was left out."""
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


@router.get("/runs/{run_id}/again")
def again(request: Request, _: AdminDep, session: ReadDep, run_id: uuid.UUID) -> Response:
    """The form with the recipe of the run."""
    found = retraining(session, run_id)
    return _shown(request, found, _first(session, found), Read())


@router.post("/runs/{run_id}/again")
def train_again(
    request: Request,
    _: AdminDep,
    session: WriteDep,
    now: NowDep,
    run_id: uuid.UUID,
    sent: Annotated[dict[str, str], Depends(get_sent)],
) -> Response:
    """Launch what the form asks for, or show it again with what is wrong."""
    found = retraining(session, run_id)
    before = _first(session, found)
    form = filled_form(before, sent)
    read = read_form(before, form)
    if read.recipe is None:
        return _shown(request, found, form, read)
    name = form.values["name"].strip()
    try:
        with session.begin_nested():  # of a sweep, none or all
            launched = launch_sweep(session, read.recipe, now=now, name=name, came_from=found.run)
    except (BadInputError, ConflictError, NotFoundError) as error:  # what could be wrong with the recipe was told
        about_name = isinstance(error, BadInputError) or repr(name) in error.message
        field = "name" if about_name else ""
        read.problems[field] = error.message
        return _shown(request, found, form, read)
    return RedirectResponse(f"/runs/{launched[0].id}" if len(launched) == 1 else "/runs", status_code=303)


def _first(session: Session, found: Retraining) -> AgainForm:
    name = next_name(session, found.run.name)
    return first_form(found.run.recipe, name=name, dataset=found.dataset, base_model=found.base_model)


def _shown(request: Request, found: Retraining, form: AgainForm, read: Read) -> Response:
    return render(
        request,
        "runs/again.html",
        status=HTTPStatus.UNPROCESSABLE_ENTITY if read.problems else HTTPStatus.OK,
        page=found,
        form=form,
        problems=read.problems,
        fields=[(name, label) for name, (_, label) in FIELDS.items()],
    )
