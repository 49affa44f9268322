"""Results for programs. They name checkpoints, so they stand apart from the voting API."""

import uuid

from fastapi import APIRouter

from app.domain.errors import ForbiddenError
from app.domain.terms import Role
from app.queries.report import report
from app.web.api_shapes import Report, errors
from app.web.clients import FIRST, ResultsClient
from app.web.deps import ReadDep

router = APIRouter(prefix="/api", tags=["results"], dependencies=FIRST)


@router.get("/batches/{batch_id}/report", summary="The result of an eval batch", responses=errors(404))
def batch_report(session: ReadDep, client: ResultsClient, batch_id: uuid.UUID) -> Report:
    """The JSON of `./arena report --json`; the README describes it. Scope `results`, which only admins can give."""
    if client.role is not Role.ADMIN:
        raise ForbiddenError("Results over the API are for admins.")
    return Report.model_validate(report(session, batch_id))
