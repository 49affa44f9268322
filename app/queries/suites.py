"""Suites and their prompts, as pages and the command line show them."""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.names import CONTROLS
from app.domain.terms import Domain
from app.models import EvalBatch, Prompt, Suite
from app.queries.paging import FIRST_PAGE, Wanted, Window, find

MOST_IN_A_FORM = 200
"""Prompts that a person can still edit on one page."""


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
    """A page of the suites, by name, newest version first."""

    rows: tuple[SuiteRow, ...]
    window: Window


@dataclass(frozen=True)
class PromptRow:
    """One prompt as it will be asked."""

    key: str
    category: str
    domain: Domain
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class SuiteChange:
    """What a version did to the one before it, in prompts by key."""

    before_id: uuid.UUID
    before: int
    changed: int
    added: int
    removed: int

    @property
    def nothing(self) -> bool:
        """Whether only title, description or order differ."""
        return not (self.changed or self.added or self.removed)


@dataclass(frozen=True)
class SuitePage:
    """A suite with its prompts in order and the eval batches that used it, by name and id."""

    suite: SuiteRow
    prompts: tuple[PromptRow, ...]
    batches: tuple[tuple[uuid.UUID, str], ...]
    change: SuiteChange | None
    """``None`` for a first version."""
    newest: tuple[uuid.UUID, int]
    """Id and number of the newest version of this name."""

    @property
    def is_newest(self) -> bool:
        """Whether it is the version that can be edited."""
        return self.newest[0] == self.suite.id

    @property
    def can_be_edited_here(self) -> bool:
        """Whether its prompts fit a form; a larger suite is edited in its file."""
        return len(self.prompts) <= MOST_IN_A_FORM


def messages_of(raw: list[Any]) -> tuple[Message, ...]:
    """Stored messages as typed turns."""
    return tuple(Message(role=m["role"], content=m["content"]) for m in raw)


COMPETES = Suite.name.not_in(CONTROLS)
"""What lists show: nothing is compared on control pairs, and they are edited in their file."""

_BY_NAME = (Suite.name, Suite.version.desc())


def suite_rows(session: Session, *conditions: Any) -> tuple[SuiteRow, ...]:
    """Suites by name, newest version first, in two queries whatever their number."""
    counted = session.execute(
        select(
            Suite,
            func.count(Prompt.id),
            func.coalesce(func.sum(case((Prompt.domain == Domain.IN_DOMAIN, 1), else_=0)), 0),
        )
        .join(Prompt, Prompt.suite_id == Suite.id, isouter=True)
        .where(COMPETES, *conditions)
        .group_by(Suite.id)
        .order_by(*_BY_NAME)
    ).all()
    categories: dict[uuid.UUID, list[str]] = {}
    query = (
        select(Prompt.suite_id, Prompt.category)
        .where(Prompt.suite_id.in_([suite.id for suite, *_ in counted]))
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


def suites_page(session: Session, wanted: Wanted = FIRST_PAGE) -> SuitesPage:
    """The list of suites."""
    ids, window = find(session, wanted, Suite, _BY_NAME, Suite.name, Suite.title, within=COMPETES)
    return SuitesPage(suite_rows(session, Suite.id.in_(ids)), window)


def suite_page(session: Session, suite_id: uuid.UUID) -> SuitePage:
    """One suite.

    Raises:
        NotFoundError: no suite has this id.
    """
    rows = suite_rows(session, Suite.id == suite_id)
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
        change=_change(session, rows[0]),
        newest=_newest(session, rows[0].name),
    )


def _newest(session: Session, name: str) -> tuple[uuid.UUID, int]:
    found = select(Suite.id, Suite.version).where(Suite.name == name).order_by(Suite.version.desc()).limit(1)
    row = session.execute(found).one()
    return row.id, row.version


def _change(session: Session, suite: SuiteRow) -> SuiteChange | None:
    """Against the next lower version of the same name."""
    before = session.execute(
        select(Suite.id, Suite.version)
        .where(Suite.name == suite.name, Suite.version < suite.version)
        .order_by(Suite.version.desc())
        .limit(1)
    ).first()
    if before is None:
        return None
    old, new = (
        {
            key: tuple(rest)
            for key, *rest in session.execute(
                select(Prompt.key, Prompt.sha256, Prompt.category, Prompt.domain).where(Prompt.suite_id == of)
            )
        }
        for of in (before.id, suite.id)
    )
    return SuiteChange(
        before_id=before.id,
        before=before.version,
        changed=sum(old[key] != new[key] for key in old.keys() & new.keys()),
        added=len(new.keys() - old.keys()),
        removed=len(old.keys() - new.keys()),
    )


def suite_file(session: Session, suite_id: uuid.UUID) -> tuple[str, bytes]:
    """Name and content of a file that holds this suite; importing it gives this version again.

    Raises:
        NotFoundError: no suite has this id.
    """
    suite = session.get(Suite, suite_id)
    if suite is None:
        raise NotFoundError("There is no such suite. The list of suites shows what exists.")
    rows: list[dict[str, Any]] = [{"suite": suite.name, "title": suite.title, "description": suite.description}]
    for prompt in session.scalars(select(Prompt).where(Prompt.suite_id == suite_id).order_by(Prompt.position)):
        row = {"key": prompt.key, "category": prompt.category, "domain": prompt.domain}
        alone = len(prompt.messages) == 1
        rows.append(row | ({"prompt": prompt.messages[0]["content"]} if alone else {"messages": prompt.messages}))
    rows[0] = {key: value for key, value in rows[0].items() if value}
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return f"{suite.name}-v{suite.version}.jsonl", content.encode()
