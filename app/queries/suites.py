"""Suites and their prompts, as pages and the command line show them."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.terms import Domain
from app.models import EvalBatch, Prompt, Suite


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True)
class SuiteRow:
    """One version of a suite with what is in it."""

    id: uuid.UUID
    name: str
    version: int
    title: str
    description: str
    prompts: int
    in_domain: int
    out_of_domain: int
    categories: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True)
class SuitesPage:
    """All suites, by name, newest version first."""

    rows: tuple[SuiteRow, ...]


@dataclass(frozen=True)
class PromptRow:
    """One prompt as it will be asked."""

    key: str
    category: str
    domain: Domain
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class SuitePage:
    """A suite with its prompts in order and the eval batches that used it, by name and id."""

    suite: SuiteRow
    prompts: tuple[PromptRow, ...]
    batches: tuple[tuple[uuid.UUID, str], ...]


def messages_of(raw: list[Any]) -> tuple[Message, ...]:
    """Stored messages as typed turns."""
    return tuple(Message(role=m["role"], content=m["content"]) for m in raw)


def suite_rows(session: Session, suite_id: uuid.UUID | None = None) -> tuple[SuiteRow, ...]:
    """All suites, or the one with this id, in two queries whatever their number."""
    one = Suite.id == suite_id if suite_id else Suite.id.is_not(None)
    counted = session.execute(
        select(
            Suite,
            func.count(Prompt.id),
            func.coalesce(func.sum(case((Prompt.domain == Domain.IN_DOMAIN, 1), else_=0)), 0),
        )
        .join(Prompt, Prompt.suite_id == Suite.id, isouter=True)
        .where(one)
        .group_by(Suite.id)
        .order_by(Suite.name, Suite.version.desc())
    ).all()
    categories: dict[uuid.UUID, list[str]] = {}
    query = (
        select(Prompt.suite_id, Prompt.category)
        .where(Prompt.suite_id == suite_id if suite_id else Prompt.suite_id.is_not(None))
        .group_by(Prompt.suite_id, Prompt.category)
        .order_by(func.min(Prompt.position))
    )
    for owner, category in session.execute(query):
        categories.setdefault(owner, []).append(category)
    return tuple(
        SuiteRow(
            id=suite.id,
            name=suite.name,
            version=suite.version,
            title=suite.title,
            description=suite.description,
            prompts=prompts,
            in_domain=int(in_domain),
            out_of_domain=prompts - int(in_domain),
            categories=tuple(categories.get(suite.id, ())),
            created_at=suite.created_at,
        )
        for suite, prompts, in_domain in counted
    )


def suites_page(session: Session) -> SuitesPage:
    """The list of suites."""
    return SuitesPage(suite_rows(session))


def suite_page(session: Session, suite_id: uuid.UUID) -> SuitePage:
    """One suite.

    Raises:
        NotFoundError: no suite has this id.
    """
    rows = suite_rows(session, suite_id)
    if not rows:
        raise NotFoundError("There is no such suite. The list of suites shows what exists.")
    prompts = session.scalars(select(Prompt).where(Prompt.suite_id == suite_id).order_by(Prompt.position))
    batches = session.execute(
        select(EvalBatch.id, EvalBatch.name).where(EvalBatch.suite_id == suite_id).order_by(EvalBatch.created_at)
    )
    return SuitePage(
        suite=rows[0],
        prompts=tuple(PromptRow(p.key, p.category, p.domain, messages_of(p.messages)) for p in prompts),
        batches=tuple((row.id, row.name) for row in batches),
    )
