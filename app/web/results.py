"""Results: what the votes say, and how sure that is."""

import uuid
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.models import EvalBatch
from app.queries.blindness import blindness
from app.queries.contrasts import contrasts
from app.queries.controls import checks_of
from app.queries.crowd import Shown, Wanted, shown_of
from app.queries.exports import FORMATS
from app.queries.judge_results import judge_results
from app.queries.outlook import outlooks
from app.queries.ranking import ranking
from app.queries.raters_agree import raters_agree
from app.queries.results import ResultsPage, results_page
from app.queries.slices import slices
from app.queries.statistics import points_up_to_now, statistics
from app.queries.trajectory import of_results
from app.web.deps import AdminDep, ReadDep
from app.web.render import render

router = APIRouter()

_AT_ONCE = 2_000
"""Pairs of an eval batch up to which a page comes with everything; beyond, a part of it is fetched when it is read."""


async def wanted_matchups(checkpoint: uuid.UUID | None = None, against: uuid.UUID | None = None) -> Wanted:
    """Which comparisons the address asks for."""
    return Wanted(checkpoint, against)


WantedDep = Annotated[Wanted, Depends(wanted_matchups)]


def query_of(wanted: Wanted, **more: str) -> str:
    """The end of an address that asks for the same comparisons."""
    given = {"checkpoint": wanted.checkpoint, "against": wanted.against}
    asked = {name: str(value) for name, value in given.items() if value is not None} | more
    return f"?{urlencode(asked)}" if asked else ""


def _results(session: Session, batch_id: uuid.UUID, wanted: Wanted) -> tuple[ResultsPage, dict[str, Any]]:
    """All results of an eval batch, and what every part of the page is told: which of them are shown."""
    page = results_page(session, batch_id)
    shown = shown_of(page, wanted)
    checks = checks_of(session, session.get_one(EvalBatch, batch_id))
    return page, {"page": shown.page, "shown": shown, "checks": checks, "query": query_of(wanted)}


def _live(session: Session, page: ResultsPage, shown: Shown) -> dict[str, Any]:
    """What moves with each vote."""
    found = statistics(session, page)
    return {
        "ranking": ranking(page) if shown.is_all else None,
        "points": [points_up_to_now(found, matchup) for matchup in shown.page.matchups],
        "slices": slices(page),
        "exports": FORMATS,
    }


def _more(session: Session, page: ResultsPage, shown: Shown) -> dict[str, Any]:
    """What is behind those numbers, and whether they can be believed."""
    found = statistics(session, page)
    return {
        "trajectories": of_results(session, page) if shown.is_all else {},
        "differences": contrasts(session, shown.page),
        "agreement": raters_agree(session, page, found),
        "statistics": found,
        "outlooks": outlooks(session, shown.page, found),
        "judges": judge_results(session, shown.page),
        "blindness": blindness(session, shown.page),
    }


@router.get("/results/{batch_id}")
def results(
    request: Request,
    _: AdminDep,
    session: ReadDep,
    batch_id: uuid.UUID,
    wanted: WantedDep,
    whole: bool = False,  # noqa: FBT001, FBT002 (a link)
) -> Response:
    """The results of one eval batch. ``whole``: with everything, however much it is."""
    page, told = _results(session, batch_id, wanted)
    shown = told["shown"]
    at_once = whole or page.batch.pairs <= _AT_ONCE
    more = _more(session, page, shown) if at_once else {}
    told |= {"at_once": at_once, "query_whole": query_of(wanted, whole="true")}
    return render(request, "results/page.html", **told, **_live(session, page, shown), **more)


@router.get("/results/{batch_id}/live")
def results_live(request: Request, _: AdminDep, session: ReadDep, batch_id: uuid.UUID, wanted: WantedDep) -> Response:
    """The part of that page that moves when a vote arrives."""
    page, told = _results(session, batch_id, wanted)
    return render(request, "results/_live.html", **told, **_live(session, page, told["shown"]))


@router.get("/results/{batch_id}/more")
def results_more(request: Request, _: AdminDep, session: ReadDep, batch_id: uuid.UUID, wanted: WantedDep) -> Response:
    """The part below it: what is behind the numbers."""
    page, told = _results(session, batch_id, wanted)
    return render(request, "results/_more.html", **told, at_once=True, **_more(session, page, told["shown"]))
