"""Datasets: import and preview."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from app.domain.terms import Split
from app.queries.datasets import dataset_page, datasets_page
from app.queries.perplexities import of_dataset
from app.services.datasets import add_dataset
from app.web.deps import AdminDep, NowDep, ReadDep, SettingsDep, WantedDep, WriteDep
from app.web.render import render
from app.web.uploads import LIMIT, FormDep, file_of, optional_file_of, text_of

router = APIRouter()


@router.get("/datasets")
def datasets(request: Request, _: AdminDep, session: ReadDep, wanted: WantedDep) -> Response:
    """All datasets, and the form to import one."""
    return render(request, "datasets/page.html", page=datasets_page(session, wanted))


@router.post("/datasets", max_body_size=LIMIT)
def import_dataset(form: FormDep, session: WriteDep, now: NowDep, settings: SettingsDep) -> Response:
    """Check, copy and hash a training file, with a validation file or without."""
    dataset = add_dataset(
        session,
        file_of(form, "file"),
        optional_file_of(form, "validation"),
        artifacts=settings.artifacts,
        now=now,
        name=text_of(form, "name"),
    )
    return RedirectResponse(f"/datasets/{dataset.id}", status_code=303)


@router.get("/datasets/{dataset_id}")
def dataset(
    request: Request,
    _: AdminDep,
    session: ReadDep,
    dataset_id: uuid.UUID,
    part: Split = Split.TRAIN,
    text: Annotated[str, Query(max_length=200)] = "",
    category: Annotated[str, Query(max_length=60)] = "",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    """One dataset with a preview of its rows."""
    shown = dataset_page(session, dataset_id, part=part, text=text.strip(), category=category, page=page)
    return render(request, "datasets/one.html", page=shown, measured=of_dataset(session, dataset_id))
