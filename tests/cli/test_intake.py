"""Bringing, deleting and cleaning checkpoints from the command line."""

from pathlib import Path

import pytest
from sqlalchemy import select

from app.db import Database
from app.models import Intake
from tests.command_line import Command
from tests.factories import make_adapter, make_base, make_study


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as a trainer leaves it."""
    made = tmp_path / "my run"
    made.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "training_args.bin", "optimizer.pt"):
        (made / name).write_bytes(name.encode())
    return made


def test_of_a_folder_only_what_belongs_to_a_checkpoint_is_sent(
    arena: Command, database: Database, folder: Path, tmp_path: Path
) -> None:
    with database.session_scope() as session:
        make_base(session, tmp_path)
    said = arena("checkpoints", "add", str(folder), "--detach")
    assert (said.code, said.err) == (0, "")
    assert "Left out, unread: optimizer.pt, training_args.bin" in said.out
    assert "my-run: queued" in said.out
    with database.session_scope(write=False) as session:
        intake = session.scalars(select(Intake)).one()
    assert [told["name"] for told in intake.files] == ["adapter_config.json", "adapter_model.safetensors"]


def test_a_path_without_an_adapter_is_named(arena: Command, database: Database, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    said = arena("checkpoints", "add", str(empty))
    assert said.code == 1
    assert f"{empty} holds no adapter" in said.err
    said = arena("checkpoints", "add", str(tmp_path / "nowhere.zip"))
    assert said.code == 1
    assert "nowhere.zip cannot be read" in said.err


def test_deleting_and_cleaning_say_what_goes_and_what_stays(arena: Command, database: Database, tmp_path: Path) -> None:
    with database.session_scope() as session:
        study = make_study(session, tmp_path, name="study")
        make_adapter(session, tmp_path, name="spare")
        used = study.adapters[0].name
    said = arena("checkpoints", "delete", used)
    assert said.code == 1
    assert "takes part in the eval batch study" in said.err
    said = arena("checkpoints", "clean", "spare", "--dry-run")
    assert (said.code, said.err) == (0, "")
    assert "Kept: spare/epoch-2 (its validation loss is the lowest" in said.out
    said = arena("checkpoints", "delete", "spare/epoch-2")
    assert (said.code, said.out.strip()) == (0, "Deleted: spare/epoch-2")
    assert "spare/epoch-2" not in arena("checkpoints", "list").out
