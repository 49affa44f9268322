"""Column types and the declarative base shared by all tables."""

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    DateTime,
    Dialect,
    Enum,
    MetaData,
    String,
    TypeDecorator,
    Uuid,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def as_stored(column: Any) -> ColumnElement[Any]:
    """An id or a word as the database gives it: to make a million UUIDs takes longer than to read them."""
    return type_coerce(column, String)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. Naive values are refused: they would mean a different moment elsewhere."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse naive times, store everything else in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A time without a time zone cannot be stored.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """SQLite forgets the zone; what was stored is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class TextEnum(TypeDecorator[StrEnum]):
    """A ``StrEnum`` stored as text by value, so that a dump of the database reads like the glossary."""

    impl = Enum
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__(
            kind,
            native_enum=False,
            length=32,
            values_callable=lambda e: [m.value for m in e],
            create_constraint=False,
        )


Json = JSON().with_variant(JSONB(), "postgresql")


class Table(DeclarativeBase):
    """Base of all tables. Constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it as a plain class attribute)
        uuid.UUID: Uuid(),
        datetime: UtcDateTime(),
        dict[str, Any]: Json,
        list[Any]: Json,
    }


class Identified:
    """A random id: UUID4, because UUID7's time prefix would group one checkpoint's responses."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
