"""A Postgres server for a while: a cluster of its own in a folder of its own, never run as root."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_ALONE = {
    # Containers often have a tiny /dev/shm.
    "dynamic_shared_memory_type": "mmap",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
}


@dataclass(frozen=True)
class Cluster:
    """A running server: its address, and the command line that stops it, run as ``user`` if that is set."""

    url: str
    stop: list[str]
    user: int | None


def start(folder: Path, binaries: Path, settings: Mapping[str, str]) -> Cluster:
    """Create a cluster under ``folder`` and start it, with these settings, on a free port of the loopback address.

    Postgres refuses to run as root, so root starts it as ``nobody``; its programs are copied next to the data
    where that user could not reach them (a checkout under /root).

    Raises:
        RuntimeError: initdb or the server failed; the message carries the end of its output.
    """
    user = _unprivileged_user()
    if user is not None and not _reachable_by_others(binaries):
        binaries = _copy(binaries, folder / "programs")
    home = Path(tempfile.mkdtemp(prefix="postgres-", dir=folder))
    password = secrets.token_hex(12)
    password_file = home / "password"
    password_file.write_text(password, encoding="utf-8")
    if user is not None:
        for path in (home, password_file):
            os.chown(path, user, -1)
    data = home / "data"
    initdb = [str(binaries / "initdb"), "--pgdata", str(data), "--username", "arena", "--auth", "password"]
    initdb += ["--pwfile", str(password_file), "--encoding", "UTF8", "--locale", "C", "--no-sync"]
    _run(initdb, user, home)
    port = _free_port()
    options = " ".join(f"-c {name}='{value}'" for name, value in {**_ALONE, **settings, "port": str(port)}.items())
    control = [str(binaries / "pg_ctl"), "--pgdata", str(data), "--wait"]
    _run([*control, "--silent", "--log", str(home / "log"), "--options", options, "start"], user, home)
    url = f"postgresql+psycopg://arena:{password}@127.0.0.1:{port}/postgres"
    return Cluster(url=url, stop=[*control, "--mode", "immediate", "stop"], user=user)


def stop(cluster: Cluster) -> None:
    """End the server. Its folder stays."""
    subprocess.run(cluster.stop, user=cluster.user, cwd="/", capture_output=True, check=False)


def _unprivileged_user() -> int | None:
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _reachable_by_others(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.resolve().parents))


def _copy(binaries: Path, target: Path) -> Path:
    """Copy the packaged programs, keeping the place of their libraries relative to them. Returns the new folder."""
    package = binaries.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    copied = target / package.name / binaries.parent.name
    shutil.copytree(binaries.parent, copied, symlinks=True, dirs_exist_ok=True)
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name, symlinks=True, dirs_exist_ok=True)
    return copied / binaries.name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(command: list[str], user: int | None, folder: Path) -> None:
    """Run a program of Postgres. Its output goes to a file: a pipe would be inherited and kept open."""
    output = folder / "output"
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    with output.open("wb") as file:
        done = subprocess.run(
            command,
            user=user,
            extra_groups=None if user is None else [],
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        log = folder / "log"
        tail = (log if log.exists() else output).read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{Path(command[0]).name} failed with exit code {done.returncode}:\n{tail}")
