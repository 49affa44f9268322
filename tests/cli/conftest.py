"""The command line called in this process: the real ``main``, its exit code and what it prints."""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.__main__ import main
from app.db import Database, get_database
from tests.processes import process_settings


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def arena(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """``arena("suites", "list")``. Logging and signals of this process are put back at the end."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def run(*arguments: Any) -> Said:
        monkeypatch.setattr(sys, "argv", ["arena", *map(str, arguments)])
        capsys.readouterr()
        try:
            code = main()
        except SystemExit as end:
            code = int(str(end.code))
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return Said(code, printed.out, printed.err)

    yield run
    root.handlers, root.level = handlers, level
    for number, handler in signals.items():
        signal.signal(number, handler)


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
