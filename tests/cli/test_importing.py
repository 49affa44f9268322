import json
from pathlib import Path

import pytest
from sqlalchemy import select

from app.db import Database
from app.models import EvalBatch, Pair
from tests.command_line import Command
from tests.factories import RULES, write_rows

GOOD = {"prompt": "Hi?", "checkpoint_a": "x", "checkpoint_b": "y", "winner": "a", "rater": "ann"}
BAD = {**GOOD, "winner": "both"}


@pytest.fixture
def rows(database: Database, tmp_path: Path) -> Path:
    """Three rows; the second one cannot be taken, and the database of the command is there."""
    (tmp_path / "home/secret.key").write_bytes(RULES.secret)
    return write_rows(tmp_path / "rows.jsonl", [GOOD, BAD, {**GOOD, "rater": "bob", "winner": "tie"}])


def test_what_was_taken_and_what_was_not_is_told_with_lines(arena: Command, rows: Path, tmp_path: Path) -> None:
    said = arena("import", "plain", rows, "--name", "study", "--problems", tmp_path / "problems.txt")
    assert (said.code, said.err) == (0, "")
    assert "study: 2 verdicts taken, 0 already there, on 1 pairs of 2 checkpoints and 1 prompts" in said.out
    assert "3 rows read, 1 refused, 0 taken with a note." in said.out
    assert "rows.jsonl, line 2: the winner 'both' is unknown" in said.out
    assert (tmp_path / "problems.txt").read_text().splitlines()[0].startswith("refused\t")
    assert arena("verify", "study").code == 0
    assert json.loads(arena("report", "study", "--json").out)["batch"]["votes"] == 2


def test_the_same_again_says_so(arena: Command, rows: Path, database: Database) -> None:
    arena("import", "plain", rows, "--name", "study")
    said = arena("import", "plain", rows, "--name", "study")
    assert (said.code, "All of it is in study already; nothing was changed." in said.out) == (0, True)
    told = json.loads(arena("import", "plain", rows, "--name", "study", "--json").out)
    assert (told["taken"], told["already_there"], told["refused"]) == (0, 2, 1)
    assert told["problems"][0]["line"] == 2
    with database.session_scope(write=False) as session:
        study = select(Pair.id).join(EvalBatch, EvalBatch.id == Pair.eval_batch_id).where(EvalBatch.name == "study")
        assert len(session.scalars(study).all()) == 1


def test_a_wrong_format_and_a_taken_name_are_one_sentence(arena: Command, rows: Path) -> None:
    said = arena("import", "llmbar", rows, "--name", "study")
    assert (said.code, said.out) == (1, "")
    assert "It looks like plain. Nothing was imported." in said.err
    assert arena("import", "plain", rows, "--name", "study").code == 0
    other = write_rows(rows.with_name("other.jsonl"), [GOOD])
    said = arena("import", "plain", other, "--name", "study")
    assert (said.code, "already, with other content" in said.err) == (1, True)
    assert arena("import", "plain", rows).code == 2  # no name
    said = arena("import", "plain", rows, "--name", "new", "--problems", rows / "no" / "folder")
    assert (said.code, "cannot be written" in said.err) == (1, True)


def test_prompts_without_a_domain_are_told_and_counted_as_one_likes(
    arena: Command, rows: Path, tmp_path: Path, database: Database
) -> None:
    told = {**GOOD, "prompt": "Where?", "domain": "in_domain"}
    both = write_rows(tmp_path / "both.jsonl", [GOOD, told])
    said = arena("import", "plain", both, "--name", "usual")
    assert "do not tell the domain of 1 prompt: it counts as out_of_domain" in said.out
    assert "--domain in_domain" in said.out
    ours = json.loads(arena("import", "plain", both, "--name", "ours", "--domain", "in_domain", "--json").out)
    assert (ours["without_domain"], ours["counted_as"]) == (1, "in_domain")
    domains = {
        name: set(json.loads(arena("report", name, "--json").out)["matchups"][0]["raters"]["domains"])
        for name in ("usual", "ours")
    }
    assert domains == {"usual": {"in-domain", "out-of-domain"}, "ours": {"in-domain"}}
    again = arena("import", "plain", both, "--name", "usual", "--domain", "in_domain")
    assert (again.code, "already, with other content" in again.err) == (1, True)
    assert "do not tell" not in arena("import", "plain", write_rows(rows, [told]), "--name", "told").out
    assert arena("import", "plain", both, "--name", "mixed", "--domain", "mixed").code == 2


def test_an_export_is_a_file_that_can_be_imported(arena: Command, rows: Path, tmp_path: Path) -> None:
    arena("import", "plain", rows, "--name", "study")
    first = arena("export", "study").out
    path = tmp_path / "study.jsonl"
    assert (arena("export", "study", "--out", path).code, path.read_text()) == (0, first)
    assert arena("import", "arena", path, "--name", "again").code == 0
    assert arena("export", "again", "--format", "jsonl").out == first
    said = arena("export", "again", "--format", "xml")
    assert (said.code, "There is no format 'xml'. Known: jsonl" in said.err) == (1, True)
    assert arena("export", "again", "--out", tmp_path).code == 0, "a folder takes the file under its usual name"
    assert (tmp_path / "comparison.jsonl").read_text() == first


def test_the_help_names_the_formats(arena: Command) -> None:
    said = arena("import", "--help")
    assert said.code == 0
    for name in ("alpaca-eval", "mt-bench", "chatbot-arena", "arena-hard", "llmfao", "pandalm", "llmbar", "plain"):
        assert name in said.out
