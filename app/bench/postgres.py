"""Where the bench votes on Postgres: a database of its own, on the server that is named or on one of its own."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from app.db import make_engine
from app.domain.errors import BadInputError, UnavailableError
from app.setup import postgres
from app.setup.programs import find_postgres


@contextmanager
def database_on(server_url: str) -> Iterator[str]:
    """The address of an empty database that is removed afterwards; without a server, one is started for it.

    Raises:
        BadInputError: the URL names no Postgres server, or there is none and no program to start one.
        UnavailableError: the server does not start.
    """
    if not server_url:
        with _server() as own:
            yield own
        return
    url = _make(server_url)
    try:
        yield url
    finally:
        _drop(server_url, url)


@contextmanager
def _server() -> Iterator[str]:
    """A server with the settings that Postgres comes with: it waits for the disk at every commit."""
    program = find_postgres()
    if program is None:
        raise BadInputError(
            "Nothing was measured: this machine has no Postgres to start. Give --database-url "
            "postgresql://USER:PASSWORD@HOST/NAME; the bench makes a database of its own there and removes it "
            "afterwards."
        )
    with tempfile.TemporaryDirectory(prefix="arena-bench-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)  # another user runs it where this one is root
        try:
            cluster = postgres.start(folder, program.path, {})
        except RuntimeError as error:
            raise UnavailableError("Postgres did not start. Nothing was measured.", str(error)) from error
        try:
            yield cluster.url
        finally:
            postgres.stop(cluster)


def _make(server_url: str) -> str:
    """A database of its own on a Postgres server; returns its URL.

    Raises:
        BadInputError: the URL names no Postgres server.
    """
    engine = make_engine(server_url)
    if engine.dialect.name != "postgresql":
        raise BadInputError("--database-url must name a Postgres server: postgresql://USER:PASSWORD@HOST/NAME.")
    name = f"arena_bench_{uuid.uuid4().hex}"
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(f"CREATE DATABASE {name}"))
    url = engine.url.set(database=name).render_as_string(hide_password=False)
    engine.dispose()
    return url


def _drop(server_url: str, url: str) -> None:
    """Remove it with whoever is still connected."""
    name = url.rpartition("/")[2].partition("?")[0]
    engine = make_engine(server_url)
    with engine.connect() as connection:
        statement = text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(statement)
    engine.dispose()
