"""Whole arenas: a tiny trained adapter, and databases that real worker processes share with the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db import Database, get_database
from tests.command_line import arena as command
from tests.conftest import unavailable
from tests.processes import QUICK, OwnArena, process_settings
from tests.tiny_arena import Tiny, make_tiny

__all__ = ["command"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Read only."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def arena(tmp_path: Path) -> OwnArena:
    """A home on SQLite and the embedded broker; its workers soon notice what has died."""
    if not Path("/proc/self").exists():
        unavailable("Processes are found by /proc, which this system does not have.")
    return OwnArena.at(tmp_path / "home", **QUICK, generate_batch_size="1")


@pytest.fixture
def database(arena: OwnArena, sqlite_template: Path) -> Iterator[Database]:
    """The arena's database, also for services that are called in this process."""
    (arena.home / "arena.db").write_bytes(sqlite_template.read_bytes())
    with process_settings(arena.home):
        yield get_database()
