"""Servers that a whole test run shares, also between xdist workers: the first test that asks starts them.

The run's folder is made by the controlling process and known to its workers by an environment variable.
Whoever needs a server takes the lock, starts it if nobody did, and leaves its address there; the controller
stops it at the end. A run that was killed leaves its folder, and the next run stops what still runs there.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

RUN_FOLDER = "ARENA_TEST_RUN_FOLDER"
PREFIX = "arena-tests-"


@dataclass(frozen=True)
class Server:
    """A running server: its address, and the command line that stops it, run as ``user`` if that is set."""

    url: str
    stop: list[str]
    user: int | None = None


def make_run_folder() -> Path:
    """A fresh folder for this run; others may pass through it, since Postgres runs as another user."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o711)
    (folder / "pid").write_text(str(os.getpid()), encoding="utf-8")
    return folder


def once(name: str, start: Callable[[Path], Server]) -> str:
    """The address of the run's server ``name``, started by the first of all workers that asks."""
    folder = Path(os.environ[RUN_FOLDER])
    record = folder / f"{name}.json"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            record.write_text(json.dumps(asdict(start(folder))), encoding="utf-8")
    return str(json.loads(record.read_text(encoding="utf-8"))["url"])


def stop_all(folder: Path) -> None:
    """Stop the servers recorded in a run's folder and remove it."""
    for record in folder.glob("*.json"):
        server = json.loads(record.read_text(encoding="utf-8"))
        # The programs may have gone with the checkout they came from; without its folder a Postgres ends by itself.
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(server["stop"], user=server["user"], cwd="/", capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


def stop_abandoned() -> None:
    """Stop what killed runs left behind: their folders name a process that no longer exists."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid_file = folder / "pid"
        if folder.stat().st_uid == os.getuid() and pid_file.exists() and not _alive(int(pid_file.read_text())):
            stop_all(folder)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
