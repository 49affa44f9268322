import json
from pathlib import Path

import pytest

from app.db import Database
from app.models import EvalBatch
from app.queries.exports import FORMATS
from app.services import eval_batches
from tests.command_line import Command
from tests.factories import NOW, RULES
from tests.story import tell


@pytest.fixture
def batch(database: Database, tmp_path: Path) -> EvalBatch:
    """A closed study in which everything happened that can happen to a vote."""
    (tmp_path / "home/secret.key").write_bytes(RULES.secret)
    with database.session_scope() as session:
        made = tell(session, tmp_path).batch
        eval_batches.close(session, made, now=NOW)
    return made


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.file])
def test_one_file_goes_to_a_path_a_folder_or_standard_output(
    arena: Command, batch: EvalBatch, tmp_path: Path, name: str
) -> None:
    said = arena("export", batch.name, "--format", name, "--out", tmp_path / "here.txt")
    assert said.code == 0
    assert f"Written: {tmp_path / 'here.txt'}" in said.err
    told = (tmp_path / "here.txt").read_bytes().decode()
    assert told
    assert arena("export", batch.name, "--format", name).out == told.replace("\r\n", "\n")
    arena("export", batch.name, "--format", name, "--out", tmp_path)
    assert (tmp_path / FORMATS[name].file).read_bytes().decode() == told


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if not one.file])
def test_several_files_go_into_a_folder(arena: Command, batch: EvalBatch, tmp_path: Path, name: str) -> None:
    refused = arena("export", batch.name, "--format", name)
    assert (refused.code, refused.out) == (1, "")
    assert "name a folder with --out" in refused.err
    said = arena("export", batch.name, "--format", name, "--out", tmp_path / "made/here")
    assert said.code == 0
    named = [line.removeprefix("Written: ") for line in said.err.splitlines() if line.startswith("Written: ")]
    assert sorted(named) == sorted(str(path) for path in (tmp_path / "made/here").rglob("*") if path.is_file())


def test_pairs_that_are_no_preference_are_counted(arena: Command, batch: EvalBatch, tmp_path: Path) -> None:
    said = arena("export", batch.name, "--format", "trl", "--out", tmp_path / "rows.jsonl")
    assert "Pairs left out: " in said.err
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(row.keys() == {"prompt", "chosen", "rejected"} for row in rows)


def test_refusals_leave_no_file(arena: Command, database: Database, tmp_path: Path) -> None:
    with database.session_scope() as session:
        still_open = tell(session, tmp_path).batch
    target = tmp_path / "nothing.csv"
    said = arena("export", still_open.name, "--format", "csv", "--out", target)
    assert (said.code, target.exists()) == (1, False)
    assert "is still open, and an export says who wrote what. Nothing was written." in said.err
    assert "There is no format 'xlsx'. Known: jsonl, csv, " in arena("export", still_open.name, "--format", "xlsx").err
    assert arena("export", "nowhere", "--format", "csv").code == 1


def test_a_folder_that_cannot_be_written_is_named(arena: Command, batch: EvalBatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here already", encoding="utf-8")
    said = arena("export", batch.name, "--format", "csv", "--out", tmp_path / "file/pairs.csv")
    assert said.code == 1
    assert "cannot be written" in said.err
