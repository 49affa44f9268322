"""Runs beside each other."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.queries.curves import View
from app.queries.run_comparison import MOST_COMPARED, comparison
from app.web.curves import compared_series, ways
from app.web.deps import AdminDep, NowDep, ReadDep, ViewDep
from app.web.render import render

router = APIRouter()

_MOST_ASKED = 64
Chosen = Annotated[list[uuid.UUID], Query(default_factory=list, max_length=_MOST_ASKED, alias="run")]


@router.get("/runs/compare")
def compare(request: Request, _: AdminDep, session: ReadDep, now: NowDep, view: ViewDep, chosen: Chosen) -> Response:
    """The runs that were chosen on one chart; without any, how to choose some."""
    context = _compared(session, chosen, view, now) if chosen else {"page": None}
    return render(request, "runs/compare.html", most=MOST_COMPARED, **context)


@router.get("/runs/compare/curves")
def compare_curves(
    request: Request, _: AdminDep, session: ReadDep, now: NowDep, view: ViewDep, chosen: Chosen
) -> Response:
    """The part of that page that changes by itself."""
    return render(request, "runs/_curves.html", **_compared(session, chosen, view, now))


def _compared(session: Session, run_ids: list[uuid.UUID], view: View, now: datetime) -> dict[str, Any]:
    page = comparison(session, run_ids, view, now=now)
    kept = [("run", str(one.run.id)) for one in page.runs]
    return {
        "page": page,
        "shown": page.curves,
        "series": compared_series(page.runs, page.curves),
        "ways": ways(page.curves, "/runs/compare", kept),
        "kept": kept,
    }
