"""A throwaway Postgres server: fast because nothing survives it."""

from pathlib import Path

import psycopg
from psycopg import sql

from app.setup import postgres
from tests.servers.once import Server

_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "max_parallel_workers": "0",
}


def start(folder: Path, binaries: Path) -> Server:
    """A cluster under ``folder``, started.

    Raises:
        RuntimeError: initdb or the server failed; the message carries the end of its output.
    """
    cluster = postgres.start(folder, binaries, _SETTINGS)
    return Server(url=cluster.url, stop=cluster.stop, user=cluster.user)


def create_database(server_url: str, name: str, template: str = "template0") -> str:
    """Create a database as a copy of ``template``. Returns its SQLAlchemy URL."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    _execute(server_url, statement)
    return server_url.rpartition("/")[0] + f"/{name}"


def drop_database(server_url: str, name: str) -> None:
    """Drop a database together with whoever is still connected to it."""
    _execute(server_url, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(server_url: str, statement: sql.Composed) -> None:
    with psycopg.connect(server_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(statement)
