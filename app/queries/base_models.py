"""Base models, as pages and the command line show them."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.terms import BaseModelSource, BaseModelState, JobKind
from app.models import BaseModel, Job
from app.queries.jobs import JobView, job_view
from app.queries.paging import FIRST_PAGE, Wanted, Window, find


@dataclass(frozen=True)
class BaseModelRow:
    """One base model; ``job`` is the newest attempt to bring its weights here."""

    id: uuid.UUID
    name: str
    source: BaseModelSource
    location: str
    revision: str
    state: BaseModelState
    parameters: int
    weights_hash: str
    tokenizer_hash: str
    template_hash: str
    error: str
    job: JobView | None
    created_at: datetime


@dataclass(frozen=True)
class ModelsPage:
    """A page of the base models, by name."""

    rows: tuple[BaseModelRow, ...]
    window: Window


def base_model_rows(session: Session, *conditions: Any) -> tuple[BaseModelRow, ...]:
    """Base models by name, in two queries."""
    models = session.scalars(select(BaseModel).where(*conditions).order_by(BaseModel.name)).all()
    ids = [model.id for model in models]
    query = select(Job).where(Job.kind == JobKind.FETCH_BASE_MODEL, Job.subject_id.in_(ids)).order_by(Job.created_at)
    newest = {job.subject_id: job_view(job) for job in session.scalars(query)}
    return tuple(
        BaseModelRow(
            id=model.id,
            name=model.name,
            source=model.source,
            location=model.location,
            revision=model.revision,
            state=model.state,
            parameters=model.parameters,
            weights_hash=model.weights_hash,
            tokenizer_hash=model.tokenizer_hash,
            template_hash=model.template_hash,
            error=model.error,
            job=newest.get(model.id),
            created_at=model.created_at,
        )
        for model in models
    )


def models_page(session: Session, wanted: Wanted = FIRST_PAGE) -> ModelsPage:
    """The list of base models."""
    ids, window = find(session, wanted, BaseModel, (BaseModel.name,), BaseModel.name)
    return ModelsPage(base_model_rows(session, BaseModel.id.in_(ids)), window)
