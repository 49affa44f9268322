"""Pairs: the texts with who wrote them and what voters said, after the reveal."""

import uuid
from dataclasses import fields
from typing import Annotated, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BeforeValidator
from starlette.responses import Response

from app.domain.terms import Domain
from app.queries.pair import pair_page
from app.queries.pair_filters import PairFilter, PairLength, PairOutcome, PairSort
from app.queries.pair_judges import PairJudges
from app.queries.pairs import pairs_page
from app.web.deps import AdminDep, ReadDep
from app.web.render import render

router = APIRouter()

T = TypeVar("T")
# A form without JavaScript sends every field, and an empty one where nothing is chosen.
Chosen = Annotated[T | None, BeforeValidator(lambda value: value or None)]


def wanted_pairs(
    category: Annotated[str, Query(max_length=60)] = "",
    domain: Chosen[Domain] = None,
    outcome: Chosen[PairOutcome] = None,
    challenger: Chosen[uuid.UUID] = None,
    against: Chosen[uuid.UUID] = None,
    text: Annotated[str, Query(max_length=200)] = "",
    flagged: Chosen[bool] = None,
    length: Chosen[PairLength] = None,
    judge: Chosen[uuid.UUID] = None,
    judges: Chosen[PairJudges] = None,
    sort: Chosen[PairSort] = None,
) -> PairFilter:
    """What the form of the list asks for."""
    return PairFilter(
        category=category,
        domain=domain,
        outcome=outcome,
        challenger=challenger,
        against=against,
        text=text.strip(),
        flagged=bool(flagged),
        length=length,
        judge=judge,
        judges=judges,
        sort=sort or PairSort.PROMPT,
    )


WantedDep = Annotated[PairFilter, Depends(wanted_pairs)]


def query_of(wanted: PairFilter, page: int = 1) -> str:
    """The end of an address that asks for the same again; what is as usual is left out."""
    asked = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
    usual = {field.name: field.default for field in fields(wanted)}
    given = {name: "true" if value is True else str(value) for name, value in asked.items() if value != usual[name]}
    if page > 1:
        given["page"] = str(page)
    return f"?{urlencode(given)}" if given else ""


@router.get("/batches/{batch_id}/pairs")
def pairs(
    request: Request,
    _: AdminDep,
    session: ReadDep,
    batch_id: uuid.UUID,
    wanted: WantedDep,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    """One page of the pairs that the form asks for."""
    shown = pairs_page(session, batch_id, wanted, page)
    return render(request, "pairs/page.html", page=shown, query_of=query_of)


@router.get("/batches/{batch_id}/pairs/{pair_id}")
def pair(
    request: Request, _: AdminDep, session: ReadDep, batch_id: uuid.UUID, pair_id: uuid.UUID, wanted: WantedDep
) -> Response:
    """One pair; the address keeps what the list was asked for."""
    shown = pair_page(session, batch_id, pair_id, wanted)
    return render(request, "pairs/one.html", page=shown, query_of=query_of)
