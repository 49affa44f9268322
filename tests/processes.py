"""Arenas of their own for tests that start real processes: a home, an environment, deadlines instead of sleeps."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from app import jobs
from app.config import ROOT, Settings, get_settings
from app.db import get_database

PATIENCE_SECONDS = 180
"""How long a busy machine may take for what normally takes a few seconds."""

QUICK = {"heartbeat_seconds": "0.3", "sweep_seconds": "0.3", "stale_seconds": "4"}
"""Settings of a worker that soon notices what has died, without taking a slow start for a death."""


def variables(home: Path, *, threads: int = 1, **settings: str) -> dict[str, str]:
    """Environment variables of an arena that fetches nothing at its first start and leaves cores to others."""
    given = {"home": str(home), "database_url": "", "broker_url": "", "base_model": "", "device": "cpu"}
    given |= {"sample_study": "false"}
    given |= {"log_level": "WARNING"} | settings
    return {f"ARENA_{name.upper()}": value for name, value in given.items()} | {
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
    }


@contextmanager
def process_environment(home: Path, *, threads: int = 1, **settings: str) -> Iterator[None]:
    """Point this process, which reads its settings once, and those it starts at another arena."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables(home, threads=threads, **settings).items():
            patch.setenv(name, value)
        _forget()
        try:
            yield
        finally:
            if get_database.cache_info().currsize:
                get_database().engine.dispose()
            _forget()


@contextmanager
def process_settings(home: Path, *, threads: int = 1, **settings: str) -> Iterator[Settings]:
    """The same for settings that can be used, and these."""
    with process_environment(home, threads=threads, **settings):
        yield get_settings()


def _forget() -> None:
    for cached in (get_settings, get_database, jobs._producer):
        cached.cache_clear()


def wait_for(happened: Callable[[], bool], what: str) -> None:
    """Look until it happened; a deadline, not a measure of time.

    Raises:
        AssertionError: it did not happen; ``what`` says what.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s for: {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class OwnArena:
    """A home and the processes that live in it. Everything they print goes into ``home/output``."""

    home: Path
    environment: dict[str, str]

    @classmethod
    def at(cls, home: Path, **settings: str) -> "OwnArena":
        """An arena in this folder with these settings."""
        home.mkdir(parents=True, exist_ok=True)
        return cls(home, {**os.environ, **variables(home, **settings)})

    def command(self, *arguments: str, **changed: str) -> "subprocess.CompletedProcess[str]":
        """``./arena`` with these arguments, until it ends."""
        return subprocess.run(
            [sys.executable, "-m", "app", *arguments],
            cwd=ROOT,
            env=self.environment | changed,
            text=True,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    @contextmanager
    def running(self, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
        """``./arena`` with these arguments in the background; at the end nothing of this arena runs any more."""
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "app", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
            process.terminate()
            process.wait(PATIENCE_SECONDS)
        finally:
            self.kill("")
            process.wait(PATIENCE_SECONDS)

    @property
    def output(self) -> Path:
        """What the background processes print."""
        return self.home / "output"

    def processes(self, words: str = "") -> list[int]:
        """Ids of the living processes of this arena whose command line contains the words."""
        return [
            int(folder.name)
            for folder in Path("/proc").glob("[0-9]*")
            if self._mark in _read(folder / "environ") + b"\0"
            and words.encode() in _read(folder / "cmdline").replace(b"\0", b" ")
        ]

    def kill(self, words: str) -> list[int]:
        """``kill -9`` all of them at once; returns whom."""
        killed = self.processes(words)
        for process in killed:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return killed

    @property
    def _mark(self) -> bytes:
        return f"ARENA_HOME={self.home}\0".encode()


def _read(file: Path) -> bytes:
    """A file of /proc; empty for a process that has ended meanwhile, is dead already, or is another user's."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
