"""Perplexity of checkpoints on files of datasets: asked for by the checkpoint, shown there and by the dataset."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from app.domain.errors import NotFoundError
from app.domain.terms import Split
from app.models import Checkpoint
from app.queries.lookup import find_dataset
from app.queries.perplexities import of_checkpoint, of_dataset
from app.services import perplexities
from app.web.deps import AdminDep, NowDep, ReadDep, WriteDep
from app.web.render import render

router = APIRouter()


@router.get("/checkpoints/{checkpoint_id}/perplexity")
def checkpoint_perplexity(request: Request, _: AdminDep, session: ReadDep, checkpoint_id: uuid.UUID) -> Response:
    """The part of a checkpoint's page that shows where it was measured."""
    return render(request, "checkpoints/_perplexity.html", measured=of_checkpoint(session, checkpoint_id))


@router.post("/checkpoints/{checkpoint_id}/perplexity")
def measure(
    _: AdminDep,
    session: WriteDep,
    now: NowDep,
    checkpoint_id: uuid.UUID,
    dataset: Annotated[str, Form(max_length=200)] = "",
    split: Annotated[Split, Form()] = Split.VALIDATION,
) -> Response:
    """Measure it on a file of a dataset, unless that was done before."""
    stored = session.get(Checkpoint, checkpoint_id)
    if stored is None:
        raise NotFoundError("There is no such checkpoint. The list of checkpoints shows what exists.")
    perplexities.ask(session, [stored], find_dataset(session, dataset), split=split, now=now)
    return RedirectResponse(f"/checkpoints/{checkpoint_id}#perplexity", status_code=303)


@router.get("/datasets/{dataset_id}/perplexity")
def dataset_perplexity(request: Request, _: AdminDep, session: ReadDep, dataset_id: uuid.UUID) -> Response:
    """The part of a dataset's page that shows who was measured on it."""
    return render(request, "datasets/_perplexity.html", measured=of_dataset(session, dataset_id))
