"""A whole study as one command: trained, compared, reported; the same command again changes nothing that is done."""

import json
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from app.db import Database
from app.models import EvalBatch, Pair, Run
from app.queries.lookup import find_batch
from tests.command_line import Command
from tests.factories import client_for, prompt_row, web_app, write_rows
from tests.flow.voter import vote_on_everything
from tests.processes import OwnArena
from tests.tiny_arena import Tiny

PROMPTS = 3


def ready(command: Command, arena: OwnArena, tiny: Tiny) -> None:
    """The suites, the conversations and the base model of the study."""
    for suite in ("here", "there"):
        rows = [prompt_row(number) for number in range(PROMPTS)]
        command("suites", "import", write_rows(arena.home / f"{suite}.jsonl", rows))
    command("datasets", "import", tiny.train_file, "--validation", tiny.validation_file, "--name", "cheese")
    assert "tiny: ready." in command("models", "add", tiny.base, "--name", "tiny").out


def counts(database: Database) -> list[Any]:
    with database.session_scope(write=False) as session:
        return [session.scalar(select(func.count(table.id))) for table in (Run, EvalBatch, Pair)]


def test_the_whole_study_is_one_command_that_goes_on(
    command: Command, arena: OwnArena, database: Database, tiny: Tiny
) -> None:
    out = arena.home / "report"
    study = (
        "study", "brie", "--name", "small", "--recipe", tiny.recipe, "--suite", "here", "--suite", "there",
        "--replicates", 2, "--max-new-tokens", 8, "--out", out,
    )  # fmt: skip
    with arena.running("worker"):
        ready(command, arena, tiny)
        first = command(*study)
        assert (first.code, first.err) == (0, "")
        assert "No judge is configured" in first.out
        assert counts(database) == [1, 2, 2 * 2 * 2 * PROMPTS]
        assert sorted(path.name for path in out.iterdir()) == ["small-here.json", "small-there.json", "study.md"]
        text = (out / "study.md").read_text(encoding="utf-8")
        assert text.startswith("# small\n\nFinished: validation loss went from ")
        assert "| 4 | " in text
        assert text.count("## small-") == 2
        with database.session_scope(write=False) as session:
            batch_id = find_batch(session, "small-here").id
        with web_app(arena.home, str(database.engine.url), secret="") as app:
            votes = vote_on_everything(client_for(app), batch_id)
        assert votes > 0
        assert command("batches", "close", "small-here").code == 0
        again = command(*study)
    assert (again.code, again.err) == (0, "")
    assert counts(database) == [1, 2, 2 * 2 * 2 * PROMPTS]
    told = json.loads((out / "small-here.json").read_text(encoding="utf-8"))
    assert sum(matchup["raters"]["all"]["n"] for matchup in told["matchups"]) == votes
    assert {"small-here.html", "small-here.md"} <= {path.name for path in out.iterdir()}
    after = (out / "study.md").read_text(encoding="utf-8")
    assert after != text
    assert all(matchup["sentence"] in after for matchup in told["matchups"])


def test_a_run_with_a_single_checkpoint_is_no_study(
    command: Command, arena: OwnArena, database: Database, tiny: Tiny, tmp_path: Path
) -> None:
    short = tmp_path / "short.toml"
    short.write_text(tiny.recipe.read_text(encoding="utf-8").replace("num_train_epochs = 2", "max_steps = 1"))
    with arena.running("worker"):
        ready(command, arena, tiny)
        said = command("study", "brie", "--name", "short", "--recipe", short, "--suite", "here")
    assert said.code == 1
    assert "The run short saved 1 checkpoints, and a study compares its first with its last." in said.err
    assert counts(database) == [1, 0, 0]
