"""Whatever is typed: one sentence on standard error, the right exit code, nothing half-done."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.db import Database
from app.models import Dataset, EvalBatch, Job, Prompt, Run, Suite
from tests.command_line import Command, Said
from tests.factories import make_adapter, make_base, make_study, prompt_row, saved_adapter, write_rows
from tests.processes import process_environment


@pytest.fixture(autouse=True)
def _home(request: pytest.FixtureRequest) -> None:
    """Every command here may run on the same kind of home; those about a bad environment make their own."""
    if "environment" not in request.fixturenames:
        request.getfixturevalue("database")


def refused(said: Said, *words: str) -> None:
    """One sentence, exit code 1, nothing on standard output."""
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("arena: ")
    assert said.err.count("\n") == 1
    for word in words:
        assert word in said.err


def counts(database: Database) -> dict[str, int]:
    """Rows of everything that a refused command might have left behind."""
    with database.session_scope(write=False) as session:
        tables = (Suite, Prompt, Dataset, Run, EvalBatch, Job)
        return {table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"key": "a", "category": "c", "domain": "in_domain", "prompt": "p"}\n{"key": "b"', ("line 2",)),
        ('{"key": "a", "category": "c", "domain": "elsewhere", "prompt": "p"}\n', ("line 1", "elsewhere")),
        ("", ("is empty",)),
        ("\n\n", ("is empty",)),
        ("[1, 2]\n", ("line 1",)),
    ],
)
def test_a_suite_file_that_cannot_be_used(
    database: Database, arena: Command, tmp_path: Path, content: str, words: tuple[str, ...]
) -> None:
    arena("suites", "list")
    before = counts(database)
    file = tmp_path / "mine.jsonl"
    file.write_text(content, encoding="utf-8")
    refused(arena("suites", "import", file), "mine.jsonl", *words)
    assert counts(database) == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n', ("line 2",)),
        ('{"prompt": "a", "completion": "b"}\nnot json\n', ("line 2",)),
        ("", ("mine.jsonl",)),
    ],
)
def test_a_dataset_file_that_cannot_be_used(
    database: Database, arena: Command, home: Path, tmp_path: Path, content: str, words: tuple[str, ...]
) -> None:
    arena("datasets", "list")
    before, files = counts(database), sorted(home.rglob("*.jsonl"))
    file = tmp_path / "mine.jsonl"
    file.write_text(content, encoding="utf-8")
    refused(arena("datasets", "import", file), "mine.jsonl", *words)
    assert counts(database) == before
    assert sorted(home.rglob("*.jsonl")) == files


@pytest.mark.parametrize("noun", ["suites", "datasets"])
def test_a_file_that_is_not_there(arena: Command, tmp_path: Path, noun: str) -> None:
    refused(arena(noun, "import", tmp_path / "gone.jsonl"), "gone.jsonl")


def test_a_suite_that_can_be_used_becomes_a_version(arena: Command, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "mine.jsonl", [prompt_row(number) for number in range(3)])
    assert arena("suites", "import", file).out == "Suite mine, version 1.\n"
    assert arena("suites", "import", file).out == "Suite mine, version 1.\n"
    write_rows(file, [prompt_row(number) for number in range(4)])
    assert arena("suites", "import", file).out == "Suite mine, version 2.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "brie-v9"), ("brie-v9", "brie-v1", "brie-v2")),
        (("train", "gone.toml"), ("gone.toml",)),
        (("train", "brie-v1", "--dataset", "gone"), ("gone", "brie")),
        (("train", "brie-v1", "--base", "gone"), ("gone", "./arena models add")),
        (("train", "brie-v1"), ("smollm2-135m", "./arena models add")),
        (("models", "add", "nonsense"), ("nonsense", "smollm2-135m")),
        (("runs", "show", "gone"), ("gone",)),
        (("runs", "cancel", "gone"), ("gone",)),
        (("checkpoints", "show", "gone"), ("gone",)),
        (("launch", "--suite", "gone", "--challenger", "x"), ("gone", "brie-in-domain")),
        (("launch", "--suite", "brie-in-domain", "--challenger", "gone"), ("gone",)),
        (("launch", "--suite", "brie-in-domain", "--challenger", ""), ("challenger",)),
        (("status", "gone"), ("gone",)),
        (("report", "gone"), ("gone",)),
        (("report", "gone", "--json"), ("gone",)),
        (("batches", "close", "gone"), ("gone",)),
        (("batches", "rerun", "gone"), ("gone",)),
        (("up", "--torch", "nonsense"), ("nonsense", "cuda")),
        (("up", "--host", "203.0.113.1"), ("203.0.113.1",)),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value[0], str) else "",
)
def test_what_does_not_exist_is_named_with_what_does(
    database: Database, arena: Command, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    arena("suites", "list")
    before = counts(database)
    refused(arena(*arguments), *words)
    assert counts(database) == before


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--temperature", "-1", ("temperature",)),
        ("--temperature", "nan", ("temperature",)),
        ("--replicates", "0", ("replicates",)),
        ("--votes", "0", ("votes",)),
        ("--max-new-tokens", "0", ("max new tokens",)),
        ("--baseline", "gone", ("gone",)),
        ("--exclude", "mood<0.5", ("mood<0.5", "gold<0.7")),
        ("--exclude", "gold>0.5", ("gold>0.5", "gold<0.7")),
        ("--exclude", "gold<0.7", ("votes on gold pairs from 4 on", "none")),
        ("--exclude", "side>0.2", ("side_max", "0.5 to 1")),
    ],
)
def test_a_plan_that_makes_no_sense_launches_nothing(
    database: Database, arena: Command, tmp_path: Path, option: str, value: str, words: tuple[str, ...]
) -> None:
    with database.session_scope() as session:
        make_study(session, tmp_path)
    before = counts(database)
    said = arena("launch", "--suite", "suite", "--challenger", "brie-v1/epoch-2", option, value, "--detach")
    refused(said, *words)
    after = counts(database)
    assert (after["eval_batch"], after["job"]) == (before["eval_batch"], before["job"])


def test_a_checkpoint_without_effect_is_not_launched(database: Database, arena: Command, tmp_path: Path) -> None:
    with database.session_scope() as session:
        make_base(session, tmp_path)
        effect = saved_adapter("0").effect | {"passed": False, "reason": "the adapter's weights are zero"}
        make_adapter(session, tmp_path, effect=effect)
    said = arena("launch", "--suite", "brie-in-domain", "--challenger", "brie-v1/epoch-2")
    refused(said, "brie-v1/epoch-2", "the adapter's weights are zero")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("launch", "--suite", "brie-in-domain"),
        ("launch", "--challenger", "x"),
        ("train",),
        ("report",),
        ("up", "--port", "99999"),
        ("up", "--port", "abc"),
        ("worker", "--queue", "nonsense"),
        ("suites", "list", "--yaml"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(arena: Command, arguments: tuple[str, ...]) -> None:
    said = arena(*arguments)
    assert said.code == 2
    assert "Usage" in said.err


@pytest.mark.parametrize("arguments", [("--help",), ("version",), ("train", "--help"), ("models", "--help")])
def test_help_is_exit_code_0(arena: Command, arguments: tuple[str, ...]) -> None:
    assert arena(*arguments).code == 0


def test_a_port_that_is_in_use_is_named_before_anything_starts(arena: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(arena("up", "--port", port), f"127.0.0.1:{port}", "--port")


@pytest.fixture
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The parametrised settings in force, ``{tmp}`` being a folder of the test."""
    (tmp_path / "file").touch()
    settings = {name: value.format(tmp=tmp_path) for name, value in request.param.items()}
    with process_environment(Path(settings.pop("home", tmp_path / "home")), **settings):
        yield settings


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"database_url": "nonsense"}, ("ARENA_DATABASE_URL",)),
        ({"database_url": "mysql://localhost/arena"}, ("ARENA_DATABASE_URL",)),
        ({"database_url": "postgresql://arena@127.0.0.1:1/arena"}, ("ARENA_DATABASE_URL",)),
        ({"database_url": "sqlite:///{tmp}/file/arena.db"}, ("database",)),
        ({"broker_url": "nonsense"}, ("ARENA_BROKER_URL",)),
        ({"port": "abc"}, ("ARENA_PORT",)),
        ({"port": "0"}, ("ARENA_PORT",)),
        ({"generate_batch_size": "0"}, ("ARENA_GENERATE_BATCH_SIZE",)),
        ({"home": "{tmp}/file/home"}, ("{tmp}/file/home", "ARENA_HOME")),
    ],
    indirect=["environment"],
    ids=str,
)
@pytest.mark.parametrize("command", [("suites", "list", "--json"), ("worker",), ("up",)], ids=" ".join)
def test_a_setting_that_cannot_be_used_is_named(
    arena: Command, tmp_path: Path, words: tuple[str, ...], command: tuple[str, ...], environment: dict[str, str]
) -> None:
    refused(arena(*command), *(word.format(tmp=tmp_path) for word in words))


def test_a_queued_run_can_be_seen_and_cancelled(database: Database, arena: Command, tmp_path: Path) -> None:
    with database.session_scope() as session:
        make_base(session, tmp_path)
    assert arena("train", "brie-v1", "--base", "tiny", "--detach").out == "Run brie-v1\n"
    assert json.loads(arena("runs", "show", "brie-v1", "--json").out)["state"] == "queued"
    assert arena("runs", "cancel", "brie-v1").code == 0
    assert json.loads(arena("runs", "show", "brie-v1", "--json").out)["state"] == "cancelled"
    refused(arena("runs", "cancel", "brie-v1"), "already ended")
    assert arena("train", "brie-v1", "--base", "tiny", "--detach").out == "Run brie-v1.2\n"
    refused(arena("train", "brie-v1", "--base", "tiny", "--name", "brie-v1", "--detach"), "brie-v1")
