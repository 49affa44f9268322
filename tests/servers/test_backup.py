"""The dump and restore of OPERATING.md, with Postgres's own tools on a real server."""

import random
import subprocess
from pathlib import Path

from sqlalchemy import select, text

from app.db import Database
from app.domain.terms import Choice
from app.models import Table
from app.setup.programs import find_postgres
from tests.conftest import unavailable
from tests.factories import make_rater, make_study, vote_blind
from tests.fixtures import on_postgres


def everything(database: Database) -> dict[str, list[str]]:
    with database.session_scope(write=False) as session:
        return {
            table.name: sorted(repr(tuple(row)) for row in session.execute(select(table)))
            for table in Table.metadata.sorted_tables
        }


@on_postgres
def test_a_dump_restored_over_other_rows_is_the_database_again(database_url: str, tmp_path: Path) -> None:
    found = find_postgres()
    if found is None or not (found.path / "pg_dump").exists():
        unavailable("pg_dump is not there.")
    address = database_url.replace("+psycopg", "")
    database = Database.at(database_url)
    with database.session_scope() as session:
        batch = make_study(session, tmp_path).batch
        vote_blind(session, batch, make_rater(session), lambda _: Choice.A, rng=random.Random(1))  # noqa: S311
    before = everything(database)
    dump = tmp_path / "arena.dump"
    with dump.open("wb") as file:
        subprocess.run([found.path / "pg_dump", "--format=custom", f"--dbname={address}"], stdout=file, check=True)
    with database.session_scope() as session:
        session.execute(text("TRUNCATE verdict, ballot CASCADE"))
    assert everything(database) != before
    database.engine.dispose()
    restore = [found.path / "pg_restore", "--clean", "--if-exists", "--no-owner", f"--dbname={address}"]
    with dump.open("rb") as file:
        subprocess.run(restore, stdin=file, check=True)
    assert everything(database) == before
    database.engine.dispose()
