"""Installing with pip what pyproject.toml lists, pinned by constraints.txt, in a way that survives `kill -9`.

Two marks in the environment keep it honest: a *stamp* per extra, written last, holds what was installed word
for word; a *marker* exists while pip runs, so that the next run knows of an interruption and repairs
half-unpacked packages first (pip takes a package for installed as soon as its metadata folder exists).
"""

import fcntl
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.setup import ROOT

TORCH_CHOICES = ("auto", "cpu", "cuda")
_TORCH_INDEX = "https://download.pytorch.org/whl/"
_TORCH_FOLDERS = {"cpu": "cpu", "cuda": "cu130"}
_MARKER = ".arena-installing"
_LAST_LINES = 12


class SetupError(RuntimeError):
    """Something could not be installed or found. The message says what, and what to do next."""


@dataclass(frozen=True)
class Environment:
    """A Python to install into, and the folder that holds its packages and our stamps."""

    python: Path
    prefix: Path


def current() -> Environment:
    """The environment this process runs in."""
    return Environment(python=Path(sys.executable), prefix=Path(sys.prefix))


def requirements(name: str, root: Path = ROOT) -> list[str]:
    """The requirement lines of ``base`` or of an extra, as pyproject.toml lists them.

    Raises:
        SetupError: there is no such extra.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups: dict[str, list[str]] = {"base": project["dependencies"], **project["optional-dependencies"]}
    if name not in groups:
        known = ", ".join(sorted(groups))
        raise SetupError(f"There is no extra named {name}. Nothing was installed; choose one of: {known}.")
    return groups[name]


def extra_installed(name: str) -> bool:
    """Whether the extra is installed completely and as pyproject.toml and constraints.txt say today."""
    return _read(_stamp(current(), name)) == _stamp_text(name)


def install_extra(
    name: str,
    log: Path,
    on_progress: Callable[[str], None],
    torch: str = "auto",
    env: Environment | None = None,
) -> None:
    """Install an extra (or ``base``) with pip; at once if it is there already.

    Args:
        name: ``base``, ``train``, ``test`` or ``s3``.
        log: file that receives everything pip prints.
        on_progress: called with a few words whenever pip turns to another package.
        torch: ``auto`` takes the wheel pip prefers; ``cpu`` or ``cuda`` picks the build by name.
        env: where to install; by default the environment of this process.

    Raises:
        SetupError: pip failed. What was installed before is untouched, and a second try repairs the rest.
    """
    env = env or current()
    with _locked(env) as lock:
        swap = name == "train" and not _torch_fits(env, torch)
        if not swap and _read(_stamp(env, name)) == _stamp_text(name):
            return
        log.parent.mkdir(parents=True, exist_ok=True)
        marker = env.prefix / _MARKER
        if marker.exists():
            repair(env)
        marker.touch()
        pip = _Pip(env, log, on_progress, lock)
        if swap:
            _swap_torch(pip, torch)
        pip.install(requirements(name))
        _stamp(env, name).write_text(_stamp_text(name), encoding="utf-8")
        marker.unlink()


def repair(env: Environment) -> list[str]:
    """Forget the packages that an interrupted pip left half-unpacked, so that the next pip lays them anew.

    pip writes ``INSTALLER`` and ``RECORD`` after the last file of a package: without them it is not whole.

    Returns:
        The names of the metadata folders that were removed.
    """
    broken = [
        folder
        for folder in sorted(env.prefix.glob("lib/python*/site-packages/*.dist-info"))
        if not ((folder / "INSTALLER").exists() and (folder / "RECORD").exists())
    ]
    for folder in broken:
        shutil.rmtree(folder)
    return [folder.name for folder in broken]


def _swap_torch(pip: "_Pip", torch: str) -> None:
    if sys.platform != "linux":
        raise SetupError(
            f"--torch {torch} is for Linux; on this system PyTorch comes in one build. Leave the option out."
        )
    index = os.environ.get("ARENA_TORCH_INDEX") or _TORCH_INDEX + _TORCH_FOLDERS[torch]
    pin = next(line for line in requirements("train") if line.startswith("torch=="))
    pip.install(["--force-reinstall", "--no-deps", "--index-url", index, pin])


def _torch_fits(env: Environment, torch: str) -> bool:
    if torch == "auto":
        return True
    if sys.platform == "darwin" and torch == "cpu":
        return True
    paths = [str(path) for path in env.prefix.glob("lib/python*/site-packages")]
    found = next(iter(importlib.metadata.distributions(name="torch", path=paths)), None)
    if found is None:
        return False
    return found.version.endswith("+cpu") == (torch == "cpu")


@dataclass(frozen=True)
class _Pip:
    """pip in one environment; everything it prints goes to the log.

    It inherits the lock: should we be killed, the next installer waits until pip has ended too.
    """

    env: Environment
    log: Path
    on_progress: Callable[[str], None]
    lock: int

    def install(self, arguments: list[str]) -> None:
        """Run `pip install` under our pins.

        Raises:
            SetupError: with the last lines of its output.
        """
        command = [str(self.env.python), "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
        command += ["--disable-pip-version-check", "--no-warn-script-location"]
        command += ["--constraint", str(ROOT / "constraints.txt"), *arguments]
        # A user's own pip settings may send packages elsewhere; here they belong into this environment.
        elsewhere = {"PIP_USER", "PIP_TARGET", "PIP_PREFIX"}
        lines: list[str] = []
        with (
            self.log.open("a", encoding="utf-8") as file,
            subprocess.Popen(
                command,
                cwd=ROOT,
                env={key: value for key, value in os.environ.items() if key not in elsewhere},
                text=True,
                errors="replace",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(self.lock,),
            ) as pip,
        ):
            try:
                for line in pip.stdout or ():
                    file.write(line)
                    file.flush()
                    lines.append(line.rstrip())
                    if words := progress_words(line):
                        self.on_progress(words)
            except BaseException:
                pip.terminate()
                raise
        if pip.returncode != 0:
            tail = "\n".join(f"    {line}" for line in lines[-_LAST_LINES:])
            raise SetupError(
                f"pip could not install {' '.join(arguments)}. The last lines of {self.log}:\n{tail}\n"
                "What was installed before is kept; check the network and your pip settings, then start again."
            )


def progress_words(line: str) -> str | None:
    """What a line of pip's output means for somebody who waits, or None if it means nothing to them."""
    if match := re.match(r"\s*Downloading ([A-Za-z0-9_.]+)-\S+ \(([^)]+)\)", line):
        return f"downloading {match[1]} ({match[2]})"
    if match := re.match(r"Collecting ([A-Za-z0-9_.-]+)", line):
        return f"looking up {match[1]}"
    if match := re.match(r"Installing collected packages: (.*)", line):
        return f"unpacking {match[1].count(',') + 1} packages"
    return None


@contextmanager
def _locked(env: Environment) -> Iterator[int]:
    """One installer at a time in an environment; the lock dies with its process. Gives the descriptor."""
    try:
        file = (env.prefix / ".arena-lock").open("w")
    except OSError as error:  # an image: what it lacks is in another one
        raise SetupError(
            f"Nothing can be installed into {env.prefix} ({error.strerror}), and nothing was changed. In containers "
            "only workers have PyTorch: docker compose up --detach worker-cpu."
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _stamp(env: Environment, name: str) -> Path:
    return env.prefix / f".arena-{name}"


def _stamp_text(name: str) -> str:
    """What an installation depends on. The base is compared by the shell script: both files as they are."""
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    if name == "base":
        return (ROOT / "pyproject.toml").read_text(encoding="utf-8") + constraints
    return "\n".join([*requirements(name), constraints])


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
