"""The whole arrow: base model → training → eval batch → blind votes → an answer that moves."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from app.db import Database, get_database
from app.domain.terms import PairKind, Queue
from app.models import Pair, Response
from app.queries.jobs import worker_alive
from app.queries.lookup import find_batch
from app.web import markdown
from tests.command_line import Command
from tests.factories import client_for, prompt_row, web_app, write_rows
from tests.flow.voter import vote_on_everything
from tests.processes import OwnArena, process_settings, wait_for
from tests.tiny_arena import Tiny
from worker.claim import utc_now

PROMPTS = 6


def printed(command: Command, *arguments: Any) -> str:
    said = command(*arguments)
    assert (said.code, said.err) == (0, "")
    return said.out


def report(command: Command, batch: str) -> dict[str, Any]:
    """What the raters say about the only matchup of the batch."""
    (matchup,) = json.loads(printed(command, "report", batch, "--json"))["matchups"]
    cell: dict[str, Any] = matchup["raters"]["all"] | {"sentence": matchup["sentence"]}
    return cell


def what_the_voter_thinks(session: Session, batch: str) -> dict[str, int]:
    """The same rule applied to the stored responses: how often the challenger's text is the longer one."""
    first, second = aliased(Response), aliased(Response)
    texts = session.execute(
        select(first.text, second.text)
        .join(Pair, Pair.first_response_id == first.id)
        .join(second, Pair.second_response_id == second.id)
        .where(Pair.eval_batch_id == find_batch(session, batch).id, Pair.settled.is_(None), Pair.kind == PairKind.MAIN)
    ).all()
    shown = [[len(markdown.render(text)) for text in pair] for pair in texts]
    return {
        "n": len(shown),
        "wins": sum(challenger > baseline for baseline, challenger in shown),
        "losses": sum(challenger < baseline for baseline, challenger in shown),
        "ties": sum(challenger == baseline for baseline, challenger in shown),
    }


def vote_and_compare(command: Command, database: Database, home: Path, batch: str) -> None:
    """Before any vote nothing is claimed; afterwards the report says exactly what the voter thinks."""
    before = report(command, batch)
    assert (before["n"], before["win_rate"]) == (0, None)
    with database.session_scope(write=False) as session:
        batch_id = find_batch(session, batch).id
        expected = what_the_voter_thinks(session, batch)
    assert expected["n"] > 0
    with web_app(home, str(database.engine.url), secret="") as app:
        client: TestClient = client_for(app)
        assert vote_on_everything(client, batch_id) == expected["n"]
    after = report(command, batch)
    assert {name: after[name] for name in expected} == expected
    assert after["sentence"] != before["sentence"]


def test_from_a_folder_to_an_answer_with_the_command_line_and_the_page(
    command: Command, arena: OwnArena, database: Database, tiny: Tiny
) -> None:
    suite = write_rows(arena.home / "six.jsonl", [prompt_row(number) for number in range(PROMPTS)])
    assert "Suite six, version 1." in printed(command, "suites", "import", suite)
    assert "4 rows" in printed(
        command, "datasets", "import", tiny.train_file, "--validation", tiny.validation_file, "--name", "cheese"
    )
    assert "tiny: ready." in printed(command, "models", "add", tiny.base, "--name", "tiny")  # brings its own worker
    assert arena.processes("celery") == []

    def workers() -> bool:
        with database.session_scope(write=False) as session:
            return all(worker_alive(session, queue=queue, now=utc_now(), stale_seconds=60) for queue in Queue)

    with arena.running("worker"):
        wait_for(workers, "both workers")
        trained = printed(command, "train", tiny.recipe)
        assert "own" not in trained
        assert "cheese/epoch-2" in trained
        launched = printed(
            command, "launch", "--suite", "six", "--challenger", "cheese/epoch-2", "--max-new-tokens", 24,
            "--name", "first",
        )  # fmt: skip
        assert "/vote/" in launched
    shown = json.loads(printed(command, "runs", "show", "cheese", "--json"))
    assert shown["state"] == "done"
    assert shown["validation"][-1]["loss"] < shown["validation"][0]["loss"]
    (row,) = json.loads(printed(command, "batches", "list", "--json"))
    assert (row["job"], row["pairs"], row["planned_pairs"]) == ("done", PROMPTS, PROMPTS)
    vote_and_compare(command, database, arena.home, "first")


@pytest.mark.real_model
def test_the_shipped_recipe_on_the_real_model(command: Command, real_base: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with process_settings(home, threads=2):
        assert "real: ready." in printed(command, "models", "add", real_base, "--name", "real")
        assert "brie-v1/step-10" in printed(command, "train", "brie-v1", "--base", "real")
        shown = json.loads(printed(command, "runs", "show", "brie-v1", "--json"))
        losses = [point["loss"] for point in shown["validation"]]
        assert losses[-1] < losses[0]
        checkpoint = json.loads(printed(command, "checkpoints", "show", "brie-v1/step-10", "--json"))
        assert checkpoint["effect"]["passed"] is True
        assert checkpoint["effect"]["kl_mean"] > 1e-4
        printed(
            command, "launch", "--suite", "brie-in-domain", "--challenger", "brie-v1/step-10",
            "--max-new-tokens", 24, "--name", "real",
        )  # fmt: skip
        (row,) = json.loads(printed(command, "batches", "list", "--json"))
        assert (row["job"], row["pairs"]) == ("done", 13)
        vote_and_compare(command, get_database(), home, "real")
