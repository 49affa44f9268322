"""Results: what the votes say, and how sure that is."""

import uuid
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.models import EvalBatch
from app.queries.blindness import blindness
from app.queries.contrasts import contrasts
from app.queries.controls import checks_of
from app.queries.exports import FORMATS
from app.queries.judge_results import judge_results
from app.queries.outlook import outlooks
from app.queries.ranking import ranking
from app.queries.raters_agree import raters_agree
from app.queries.results import results_page
from app.queries.slices import slices
from app.queries.statistics import points_up_to_now, statistics
from app.queries.trajectory import of_results
from app.web.deps import AdminDep, ReadDep
from app.web.render import render

router = APIRouter()


def _of(session: Session, batch_id: uuid.UUID) -> dict[str, Any]:
    """The results, the checks that say whether they may be shown, whether anybody could tell, and judges."""
    page = results_page(session, batch_id)
    found = statistics(session, page)
    return {
        "page": page,
        "checks": checks_of(session, session.get_one(EvalBatch, batch_id)),
        "blindness": blindness(session, page),
        "differences": contrasts(session, page),
        "ranking": ranking(page),
        "trajectories": of_results(session, page),
        "agreement": raters_agree(session, page, found),
        "judges": judge_results(session, page),
        "outlooks": outlooks(session, page, found),
        "statistics": found,
        "slices": slices(page),
        "points": [points_up_to_now(found, matchup) for matchup in page.matchups],
        "exports": FORMATS,
    }


@router.get("/results/{batch_id}")
def results(request: Request, _: AdminDep, session: ReadDep, batch_id: uuid.UUID) -> Response:
    """The results of one eval batch."""
    return render(request, "results/page.html", **_of(session, batch_id))


@router.get("/results/{batch_id}/live")
def results_live(request: Request, _: AdminDep, session: ReadDep, batch_id: uuid.UUID) -> Response:
    """The part of that page that moves when a vote arrives."""
    return render(request, "results/_live.html", **_of(session, batch_id))
