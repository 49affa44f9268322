"""Alembic environment: runs on the engine that ``app.db.migrate`` hands over, or on the settings' database."""

from typing import Literal

import sqlalchemy as sa
from alembic import context

from app.config import get_settings
from app.db import make_engine
from app.models import Table, types


def render_item(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write our column types as plain ones: a migration must not change when the code's enums do."""
    if kind == "type" and isinstance(item, types.TextEnum):
        return "sa.String(length=32)"
    if kind == "type" and isinstance(item, types.UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, sa.JSON):
        return "types.Json"
    return False


engine = context.config.attributes.get("engine") or make_engine(get_settings().database)

with engine.execution_options(arena_write=True).connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        render_as_batch=True,
        compare_type=True,
        render_item=render_item,
    )
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":  # two first starts at once: the second waits and finds it done
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(20261123)"))
        context.run_migrations()
