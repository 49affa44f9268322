"""Homes for commands that run in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db import Database, get_database
from tests.command_line import arena
from tests.processes import process_settings

__all__ = ["arena"]


@pytest.fixture
def home(tmp_path: Path, sqlite_template: Path) -> Path:
    """A home with tables and without rows."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "arena.db").write_bytes(sqlite_template.read_bytes())
    return folder


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    """The database of the commands that this process runs."""
    with process_settings(home):
        yield get_database()
