"""Training with changes from the command line."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.db import Database
from app.domain.terms import LineKind
from app.models import Run
from app.services.run_log import say
from tests.command_line import Command
from tests.factories import NOW, make_base, make_dataset, make_run

RECIPE = 'name = "mine"\nkind = "sft"\nbase_model = "tiny"\ndataset = "lessons"\n[train]\nlearning_rate = 4e-4\n'


@pytest.fixture
def recipe(database: Database, tmp_path: Path) -> Path:
    """A recipe file, and a run of another one, so that its dataset and base model are there."""
    with database.session_scope() as session:
        make_base(session, tmp_path)
        make_run(session, tmp_path, name="before")
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def find(database: Database, name: str) -> Run:
    with database.session_scope(write=False) as session:
        return session.scalars(select(Run).where(Run.name == name)).one()


def test_single_keys_are_changed(database: Database, arena: Command, recipe: Path) -> None:
    said = arena("train", recipe, "--set", "train.learning_rate=2e-4", "--set", "r=8", "--detach")
    assert (said.code, said.out) == (0, "Run mine\n")
    assert find(database, "mine").recipe["train"] == {"learning_rate": 2e-4}
    assert find(database, "mine").recipe["lora"] == {"r": 8}


def test_a_list_trains_one_for_each_value(database: Database, arena: Command, recipe: Path) -> None:
    assert arena("train", recipe, "--set", "lora.r=[4, 8]", "--detach").out == "Run mine-r4\nRun mine-r8\n"
    assert find(database, "mine-r4").sweep_id == find(database, "mine-r8").sweep_id


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("lora.rr=8", "No recipe has the key lora.rr; did you mean lora.r?"),
        ("lora.r=many", "lora.r must be a whole number from 1 to 256"),
        ("lora.r", "written as KEY=VALUE"),
    ],
)
def test_a_change_that_cannot_be_is_refused(
    database: Database, arena: Command, recipe: Path, change: str, said: str
) -> None:
    refused = arena("train", recipe, "--set", change, "--detach")
    assert (refused.code, refused.out) == (1, "")
    assert said in refused.err
    with database.session_scope(write=False) as session:
        assert session.scalar(select(func.count(Run.id))) == 1


def test_a_run_is_trained_again_with_changes(database: Database, arena: Command, recipe: Path) -> None:
    for name in ("before-2", "before-3"):
        assert arena("runs", "again", "before", "--set", "lora.r=16", "--detach").out == f"Run {name}\n"
    made = find(database, "before-3")
    assert (made.came_from_id, made.recipe["lora"]) == (find(database, "before").id, {"r": 16})
    assert arena("runs", "again", "absent").code == 1


def test_a_mix_is_trained_again_with_other_weights_or_on_one_dataset(
    database: Database, arena: Command, recipe: Path, tmp_path: Path
) -> None:
    with database.session_scope() as session:
        make_dataset(session, tmp_path, "notes")
    asked = ("train", recipe, "--dataset", "lessons=2", "--dataset", "notes", "--name", "both", "--detach")
    assert arena(*asked).code == 0
    assert arena("runs", "again", "both", "--set", "mix.notes@1=3", "--detach").code == 0
    assert find(database, "both-2").recipe["mix"] == {"lessons@1": 2.0, "notes@1": 3.0}
    assert arena("runs", "again", "both", "--dataset", "notes", "--detach").code == 0
    alone = find(database, "both-3").recipe
    assert (alone["dataset"], "mix" in alone) == ("notes", False)


def test_the_log_of_a_run_is_printed(database: Database, arena: Command, recipe: Path) -> None:
    with database.session_scope() as session:
        say(session, session.get_one(Run, find(database, "before").id), [(NOW, LineKind.WARNING, "too long")])
    assert arena("runs", "log", "before").out == f"{NOW:%Y-%m-%d %H:%M:%S}Z  warning: too long\n"
