"""Workers in this process: settings that point at a database of the test's own, and a tiny trained adapter."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db import Database, get_database
from tests.processes import process_settings
from tests.tiny_arena import Tiny, make_tiny
from tests.worker.judge_job import batch, server

__all__ = ["batch", "server"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def database(database_url: str, home: Path) -> Iterator[Database]:
    """The database that ``session_scope`` of this process talks to."""
    with process_settings(home, database_url=database_url):
        yield get_database()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Read only."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    return make_tiny(tmp_path_factory.mktemp("tiny"))
