"""`backup` and `restore` as the container runs them, on a real Postgres; the object store is a folder."""

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, text

from app.db import Database
from app.domain.terms import Choice
from app.models import Table
from app.setup import ROOT
from app.setup.programs import find_postgres
from tests.conftest import unavailable
from tests.factories import make_rater, make_study, vote_blind
from tests.fixtures import on_postgres

pytestmark = on_postgres

RCLONE = """#!/bin/sh
# The three commands of rclone that are used, on a folder.
set -eu
verb=$1
shift
for last; do true; done
path=$STORE/${last#objects:}
case $verb in
    rcat) mkdir -p "$(dirname "$path")" && cat >"$path" ;;
    cat) cat "$path" ;;
    lsf) ls "$path" ;;
esac
"""


@dataclass(frozen=True)
class Place:
    """An arena's database and artifacts, and a store for its backups."""

    database: Database
    home: Path
    store: Path
    environment: dict[str, str]

    def run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [ROOT / "app/setup/containers" / program, *arguments]
        self.database.engine.dispose()
        return subprocess.run(command, env=self.environment, text=True, capture_output=True, check=False)

    def back_up(self) -> str:
        done = self.run("backup")
        assert done.returncode == 0, done.stderr
        (name,) = (folder.name for folder in self.store.iterdir())
        assert done.stdout == f"Backup {name} is complete.\n"
        return name

    def content(self) -> tuple[dict[str, list[str]], dict[str, str]]:
        """Every row and every artifact."""
        with self.database.session_scope(write=False) as session:
            rows = {
                table.name: sorted(repr(tuple(row)) for row in session.execute(select(table)))
                for table in Table.metadata.sorted_tables
            }
        artifacts = self.home / "artifacts"
        files = {str(file.relative_to(artifacts)): file.read_text() for file in artifacts.rglob("*") if file.is_file()}
        return rows, files

    def spoil(self) -> None:
        with self.database.session_scope() as session:
            session.execute(text("TRUNCATE verdict, ballot CASCADE"))
            session.execute(text("CREATE TABLE of_a_later_version (id INTEGER)"))
        shutil.rmtree(self.home / "artifacts/runs")
        (self.home / "artifacts/later").touch()


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Iterator[Place]:
    """An arena with votes and an artifact."""
    found = find_postgres()
    if found is None or not all((found.path / name).exists() for name in ("pg_dump", "pg_restore", "psql")):
        unavailable("The programs of Postgres that back up and restore are not there.")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "rclone").write_text(RCLONE, encoding="utf-8")
    (programs / "rclone").chmod(0o755)
    home, store = tmp_path / "home", tmp_path / "store"
    (home / "artifacts/runs").mkdir(parents=True)
    (home / "artifacts/runs/adapter").write_text("weights", encoding="utf-8")
    environment = {
        "PATH": f"{programs}:{found.path}:{os.environ['PATH']}",
        "ARENA_HOME": str(home),
        "ARENA_DATABASE_URL": database_url,
        "BACKUP_TO": "objects:arena",
        "STORE": str(store),
    }
    database = Database.at(database_url)
    with database.session_scope() as session:
        batch = make_study(session, tmp_path).batch
        vote_blind(session, batch, make_rater(session), lambda _: Choice.A, rng=random.Random(1))  # noqa: S311
    yield Place(database, home, store / "arena", environment)
    database.engine.dispose()


def refused(place: Place, name: str, *words: str) -> None:
    """Exit code 1, a sentence, and nothing changed."""
    before = place.content()
    done = place.run("restore", name)
    assert (done.returncode, done.stdout) == (1, "")
    for word in words:
        assert word in done.stderr
    assert place.content() == before


def test_a_backup_brings_back_rows_and_artifacts(place: Place) -> None:
    before = place.content()
    name = place.back_up()
    place.spoil()
    assert place.content() != before
    done = place.run("restore", name)
    assert done.returncode == 0, done.stderr
    assert place.content() == before
    (kept,) = place.home.glob("artifacts.before-*")
    assert [file.name for file in kept.iterdir()] == ["later"]
    with place.database.session_scope(write=False) as session:
        assert session.scalar(text("SELECT to_regclass('of_a_later_version')")) is None


def test_a_restored_arena_can_be_backed_up_and_restored_again(place: Place) -> None:
    before = place.content()
    assert place.run("restore", place.back_up()).returncode == 0
    shutil.rmtree(place.store)
    name = place.back_up()
    place.spoil()
    assert place.run("restore", name).returncode == 0
    assert place.content() == before


def test_without_a_name_it_lists_what_there_is(place: Place) -> None:
    name = place.back_up()
    done = place.run("restore")
    assert (done.returncode, done.stdout) == (2, "")
    assert name in done.stderr


def test_a_backup_that_was_interrupted_is_refused(place: Place) -> None:
    name = place.back_up()
    (place.store / name / "SHA256SUMS").unlink()
    refused(place, name, "was interrupted", "Nothing was changed")


@pytest.mark.parametrize("file", ["arena.dump", "artifacts.tar"])
def test_a_backup_that_was_damaged_is_refused(place: Place, file: str) -> None:
    name = place.back_up()
    with (place.store / name / file).open("ab") as stored:
        stored.write(b"!")
    refused(place, name, file, "Nothing was changed")


def test_an_arena_that_runs_is_not_overwritten(place: Place) -> None:
    name = place.back_up()
    page = Database.at(place.environment["ARENA_DATABASE_URL"])
    with page.session_scope(write=False) as session:
        session.execute(select(1))
        refused(place, name, "docker compose stop")
    page.engine.dispose()


def test_a_dump_that_cannot_be_read_changes_no_row(place: Place) -> None:
    name = place.back_up()
    folder = place.store / name
    sound = (folder / "arena.dump").read_bytes()
    (folder / "arena.dump").write_bytes(sound[: len(sound) // 2])
    sums = (folder / "SHA256SUMS").read_text()
    half = hashlib.sha256(sound[: len(sound) // 2]).hexdigest()
    (folder / "SHA256SUMS").write_text(sums.replace(hashlib.sha256(sound).hexdigest(), half))
    refused(place, name)


def test_a_store_that_is_away_is_an_error_and_leaves_no_whole_backup(place: Place) -> None:
    Path(place.environment["PATH"].split(":")[0], "rclone").write_text("#!/bin/sh\nexit 1\n")
    done = place.run("backup")
    assert done.returncode != 0
    assert "complete" not in done.stdout
