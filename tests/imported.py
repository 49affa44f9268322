"""Imports through the real services, portion by portion as the command does it."""

import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID

from app.db import Database
from app.domain.imports.items import Log
from app.queries.exports import FORMATS
from app.queries.exports.writing import write_one
from app.queries.verification import verify
from app.services import import_plan, imports
from app.services.bulk import insert
from app.services.import_gather import Gathered
from app.services.import_write import Writer
from tests.factories import NOW, RULES


def gathered(format_name: str, *paths: Path) -> Gathered:
    """What files hold."""
    return imports.gather(format_name, paths, Log())


def store(database: Database, found: Gathered, name: str, *, portions: int | None = None, now: datetime = NOW) -> UUID:
    """Store all of it, or be killed after so many portions."""
    planned = import_plan.plan(found, name)
    with database.session_scope() as session:
        begun = imports.begin(session, found, planned, secret=RULES.secret, now=now)
    if begun.complete:
        return begun.batch_id
    writer = Writer(found, planned, begun, secret=RULES.secret)
    for place, portion in enumerate(writer.portions()):
        if place == portions:
            return begun.batch_id
        with database.session_scope() as session:
            insert(session, writer.rows(portion))
    with database.session_scope() as session:
        imports.finish(session, begun.batch_id, now=now)
    return begun.batch_id


def mismatches(database: Database, batch_id: UUID) -> Sequence[str]:
    """What `arena verify` would say."""
    with database.session_scope(write=False) as session:
        return [one.sentence for one in verify(session, RULES.secret, batch_id).mismatches]


def exported(database: Database, batch_id: UUID) -> str:
    """The file that `arena export` would write."""
    with database.session_scope(write=False) as session:
        file = io.StringIO()
        write_one(FORMATS["jsonl"].rows(session, batch_id), FORMATS["jsonl"], file)
        return file.getvalue()
