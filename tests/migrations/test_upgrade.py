from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from app.config import ROOT
from app.db import make_engine, migrate
from app.domain.errors import BadInputError, UnavailableError
from app.models import Table


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    """A database that was empty and is upgraded, twice: the second time does nothing."""
    for _ in range(2):
        migrate(empty_database_url)
    opened = make_engine(empty_database_url)
    yield opened
    opened.dispose()


def test_an_empty_database_becomes_exactly_the_models_tables(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
    found = {table for table in inspect(engine).get_table_names() if table != "alembic_version"}
    assert found == Table.metadata.tables.keys()


def test_indexes_with_a_condition_keep_it(engine: Engine) -> None:
    """Autogeneration does not compare conditions, and the rules of voting stand on two of them."""
    query = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE indexdef LIKE '% WHERE %'"
        " AND schemaname = 'public'",
    }[engine.dialect.name]
    with engine.connect() as connection:
        conditions = {name: sql.partition(" WHERE ")[2] for name, sql in connection.execute(text(query))}
    declared = {
        index.name
        for table in Table.metadata.sorted_tables
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    assert conditions.keys() == declared
    for name, words in {
        "uq_ballot_live_slot": ("open", "voted", "is_repeat"),
        "uq_ballot_open_rater": ("open", "rater"),
        "uq_job_unfinished": ("queued", "running"),
    }.items():
        assert all(word in conditions[name] for word in words), conditions[name]


def test_there_is_one_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name", "sqlite-but-not://x", "postgresql://host:port/name"])
def test_an_address_that_names_no_database_of_ours_is_refused(url: str) -> None:
    with pytest.raises(BadInputError, match="ARENA_DATABASE_URL"):
        migrate(url)


def test_a_database_that_does_not_answer_is_said_to_be_away() -> None:
    with pytest.raises(UnavailableError, match="cannot be used right now"):
        migrate("postgresql://nobody@127.0.0.1:1/nothing")
