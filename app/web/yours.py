"""A rater's own votes with who wrote what, after the reveal. Not on the blind side: it may not import this."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.queries.yours import yours_page
from app.services.seats import require_seat
from app.web.deps import AccountDep, ReadDep
from app.web.render import render

router = APIRouter()


@router.get("/vote/{batch_id}/yours")
def yours(
    request: Request,
    session: ReadDep,
    account: AccountDep,
    batch_id: uuid.UUID,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    """What this rater chose. While voting is open, or where nobody is ever told, a sentence without a name."""
    voter = require_seat(session, batch_id, account.voter_id, account.role)
    return render(request, "yours/page.html", page=yours_page(session, batch_id, voter.id, page))
