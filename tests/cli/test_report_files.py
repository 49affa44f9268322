import json
from pathlib import Path

import pytest
from sqlalchemy import update

from app.db import Database
from app.models import Checkpoint, EvalBatch, Verdict
from app.services import eval_batches
from tests.command_line import Command
from tests.factories import NOW, RULES
from tests.story import tell


@pytest.fixture
def batch(database: Database, tmp_path: Path) -> EvalBatch:
    """An open study, sealed with the key of the tests."""
    (tmp_path / "home/secret.key").write_bytes(RULES.secret)
    with database.session_scope() as session:
        return tell(session, tmp_path).batch


def close(database: Database, batch: EvalBatch) -> None:
    with database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, batch.id), now=NOW)


def test_the_report_of_an_open_batch_is_refused(arena: Command, batch: EvalBatch, tmp_path: Path) -> None:
    said = arena("report", batch.name, "--html", tmp_path / "report.html")
    assert (said.code, said.out) == (1, "")
    assert "is still open, so its report is not final and none was written. Close voting first" in said.err
    assert not (tmp_path / "report.html").exists()


def test_both_files_are_written_and_say_the_same(
    arena: Command, database: Database, batch: EvalBatch, tmp_path: Path
) -> None:
    close(database, batch)
    page, text = tmp_path / "report.html", tmp_path / "report.md"
    said = arena("report", batch.name, "--html", page, "--markdown", text)
    assert (said.code, said.out.splitlines()) == (0, [f"Written: {page}", f"Written: {text}"])
    sentence = json.loads(arena("report", batch.name, "--json").out)["matchups"][0]["fixed_sentence"]
    assert sentence in page.read_text(encoding="utf-8")
    assert sentence in text.read_text(encoding="utf-8").replace("\\", "")
    before = page.read_bytes(), text.read_bytes()
    arena("report", batch.name, "--html", page, "--markdown", text)
    assert (page.read_bytes(), text.read_bytes()) == before


def test_what_was_tampered_with_is_said_in_the_file_and_in_the_exit_code(
    arena: Command, database: Database, batch: EvalBatch, tmp_path: Path
) -> None:
    close(database, batch)
    with database.session_scope() as session:
        session.execute(update(Verdict).where(~Verdict.surplus).values(reason="something else"))
    said = arena("report", batch.name, "--markdown", tmp_path / "report.md")
    assert said.code == 1
    assert "expected a seal that fits" in said.out
    assert "Not verified: " in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_model_card_is_printed_or_written(
    arena: Command, database: Database, batch: EvalBatch, tmp_path: Path
) -> None:
    close(database, batch)
    with database.session_scope(write=False) as session:
        name = session.query(Checkpoint).filter(Checkpoint.run_id.is_not(None)).one().name
    printed = arena("checkpoints", "card", name).out
    assert printed.startswith('---\nbase_model: "tiny"\nlibrary_name: "peft"\n')
    arena("checkpoints", "card", name, "--out", tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == printed
    refused = arena("checkpoints", "card", "tiny")
    assert refused.code == 1
    assert "was not trained in this arena" in refused.err
