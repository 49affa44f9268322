"""What is there: every list for people and, with stable keys, for programs."""

import json
from pathlib import Path

import pytest

from app.db import Database
from tests.command_line import Command
from tests.factories import finish_job, make_adapter, make_run, make_study, pairs_of

KEYS = {
    ("models", "list"): "name state source location revision parameters weights tokenizer template error",
    ("suites", "list"): "name version prompts in_domain out_of_domain categories",
    ("datasets", "list"): "name version rows validation_rows sha256 runs",
    ("runs", "list"): "name recipe dataset base_model state done total first_loss last_loss",
    ("checkpoints", "list"): "name kind base_model step last_of_run validation_loss effect fingerprint",
    ("batches", "list"): (
        "name id suite baseline challengers state job pairs planned_pairs settled votes simulated_votes votes_wanted"
        " server"
    ),
}
lists = pytest.mark.parametrize("command", KEYS, ids=" ".join)


@pytest.fixture
def study(database: Database, tmp_path: Path) -> None:
    """Something of everything."""
    with database.session_scope() as session:
        make_study(session, tmp_path)


@lists
def test_programs_get_json_with_stable_keys(study: None, arena: Command, command: tuple[str, str]) -> None:
    said = arena(*command, "--json")
    rows = json.loads(said.out)
    assert said.code == 0
    assert rows
    for row in rows:
        assert " ".join(row) == KEYS[command]


@lists
def test_people_get_a_table_with_the_names(study: None, arena: Command, command: tuple[str, str]) -> None:
    names = [row["name"] for row in json.loads(arena(*command, "--json").out)]
    said = arena(*command)
    assert said.code == 0
    assert all(name in said.out for name in names)


@pytest.mark.parametrize("noun", ["models", "runs", "checkpoints", "batches"])
def test_an_empty_list_says_what_to_do_and_is_still_json(database: Database, arena: Command, noun: str) -> None:
    assert "./arena " in arena(noun, "list").out
    assert json.loads(arena(noun, "list", "--json").out) == []


def test_what_ships_is_there_at_the_first_command(database: Database, arena: Command) -> None:
    suites = {row["name"]: row["prompts"] for row in json.loads(arena("suites", "list", "--json").out)}
    assert suites == {"brie-comprehensive": 57, "brie-in-domain": 13, "brie-out-of-domain": 15}
    (brie,) = json.loads(arena("datasets", "list", "--json").out)
    assert (brie["name"], brie["version"]) == ("brie", 1)


def test_a_run_and_a_checkpoint_are_shown_whole(study: None, arena: Command) -> None:
    run = json.loads(arena("runs", "show", "brie-v1", "--json").out)
    assert (run["state"], run["checkpoints"]) == ("done", ["brie-v1/epoch-2"])
    checkpoint = json.loads(arena("checkpoints", "show", "brie-v1/epoch-2", "--json").out)
    assert (checkpoint["run"], checkpoint["kind"], checkpoint["last_of_run"]) == ("brie-v1", "adapter", True)
    assert "brie-v1/epoch-2" in arena("runs", "show", "brie-v1").out
    assert checkpoint["fingerprint"] in arena("checkpoints", "show", checkpoint["fingerprint"][:12]).out


def test_status_tells_of_workers_jobs_and_batches(database: Database, arena: Command, tmp_path: Path) -> None:
    with database.session_scope() as session:
        batch = make_study(session, tmp_path).batch
        run = make_run(session, tmp_path, name="waiting", done=False)
    status = json.loads(arena("status", "--json").out)
    assert " ".join(status) == "worker jobs batches"
    assert status["worker"] is False
    assert [(job["title"], job["state"]) for job in status["jobs"]] == [("Train waiting", "queued")]
    assert [row["name"] for row in status["batches"]] == [batch.name]
    one = arena("status", batch.name)
    assert "none; start one with ./arena worker" in one.out
    assert "Train waiting" in one.out
    with database.session_scope() as session:
        from app.models import Job  # noqa: PLC0415

        finish_job(session, session.get_one(Job, run.job_id))
    assert json.loads(arena("status", "--json").out)["jobs"] == []


def test_a_report_is_json_of_a_named_shape_and_a_sentence_for_people(
    database: Database, arena: Command, tmp_path: Path
) -> None:
    with database.session_scope() as session:
        batch = make_study(session, tmp_path).batch
        assert len(pairs_of(session, batch)) == 4
    report = json.loads(arena("report", batch.name, "--json").out)
    assert report["schema"] == "brie-arena-report/1"
    (matchup,) = report["matchups"]
    assert (matchup["challenger"], matchup["raters"]["all"]["n"]) == ("brie-v1/epoch-2", 0)
    assert " ".join(matchup["raters"]["all"]) == ("n wins losses ties both_bad prompts win_rate live fixed standing")
    assert matchup["sentence"] in arena("report", str(batch.id)[:8]).out


def test_a_batch_that_is_closed_stays_closed(database: Database, arena: Command, tmp_path: Path) -> None:
    with database.session_scope() as session:
        name = make_study(session, tmp_path).batch.name
    assert arena("batches", "close", name).code == 0
    assert json.loads(arena("batches", "list", "--json").out)[0]["state"] == "closed"
    again = arena("batches", "close", name)
    assert (again.code, again.err) == (1, f"arena: The eval batch {name} is closed already.\n")


def test_a_closed_batch_is_run_again_with_new_seeds(database: Database, arena: Command, tmp_path: Path) -> None:
    with database.session_scope() as session:
        name = make_study(session, tmp_path).batch.name
    assert arena("batches", "close", name).code == 0
    found = arena("batches", "rerun", name, "--detach")
    assert (found.code, found.out) == (0, f"Eval batch {name}, seeds 2: 4 pairs planned.\n")
    names = {row["name"] for row in json.loads(arena("batches", "list", "--json").out)}
    assert names == {name, f"{name}, seeds 2"}


def test_two_challengers_are_both_listed(database: Database, arena: Command, tmp_path: Path) -> None:
    with database.session_scope() as session:
        make_study(session, tmp_path, challengers=2)
        make_adapter(session, tmp_path, name="other")
    (row,) = json.loads(arena("batches", "list", "--json").out)
    assert row["challengers"] == ["brie-v1/epoch-2", "brie-v2/epoch-2"]
    assert row["planned_pairs"] == 2 * 4
