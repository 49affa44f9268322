"""Base models: frozen weights that adapters sit on."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from app.queries.base_models import models_page
from app.services.base_models import add_base_model
from app.web.deps import AdminDep, NowDep, ReadDep, WriteDep
from app.web.render import render

router = APIRouter()


@router.get("/models")
def models(request: Request, _: AdminDep, session: ReadDep) -> Response:
    """All base models."""
    return render(request, "models/page.html", page=models_page(session))


@router.get("/models/list")
def models_list(request: Request, _: AdminDep, session: ReadDep) -> Response:
    """The part of that page that changes by itself."""
    return render(request, "models/_list.html", page=models_page(session))


@router.post("/models")
def add_model(_: AdminDep, session: WriteDep, now: NowDep, wanted: Annotated[str, Form(max_length=1000)]) -> Response:
    """Ask for a base model, or for a failed one again."""
    add_base_model(session, wanted.strip(), now=now)
    return RedirectResponse("/models", status_code=303)
