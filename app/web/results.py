"""Results: what the votes say, and how sure that is."""

import uuid

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.queries.results import results_page
from app.web.deps import AdminDep, ReadDep
from app.web.render import render

router = APIRouter()


@router.get("/results/{batch_id}")
def results(request: Request, _: AdminDep, session: ReadDep, batch_id: uuid.UUID) -> Response:
    """The results of one eval batch."""
    return render(request, "results/page.html", page=results_page(session, batch_id))


@router.get("/results/{batch_id}/live")
def results_live(request: Request, _: AdminDep, session: ReadDep, batch_id: uuid.UUID) -> Response:
    """The part of that page that moves when a vote arrives."""
    return render(request, "results/_live.html", page=results_page(session, batch_id))
