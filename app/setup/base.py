"""The first start: make .venv and install what the web page needs into it."""

import importlib.util
import subprocess
import sys
import time
import venv
from pathlib import Path

from app.setup import ROOT, local_home
from app.setup.extras import Environment, SetupError, install_extra


def ensure_base(root: Path = ROOT) -> None:
    """Make sure that ``root/.venv`` exists, has a working pip and holds the base requirements.

    A virtual environment that somebody made there by hand is used as it is.

    Raises:
        SetupError: the environment could not be made or filled; nothing outside of it was touched.
    """
    env = Environment(python=root / ".venv/bin/python", prefix=root / ".venv")
    if not _has_pip(env):
        _make(env)
    log = local_home() / "setup.log"
    started = time.monotonic()
    _say("Installing the base packages, about a minute ...")
    install_extra("base", log, _note_on_terminal, env=env)
    _say(f"Base packages are installed ({time.monotonic() - started:.0f} s).", last=True)


def _make(env: Environment) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            f"Python {version} at {sys.executable} cannot make virtual environments (no ensurepip module). "
            f"Nothing was installed. On Debian: apt install python{version}-venv, then start again."
        )
    _say(f"Making .venv with Python {version} ...")
    try:
        venv.EnvBuilder(clear=True, with_pip=True, symlinks=True).create(env.prefix)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(
            f"The virtual environment {env.prefix} could not be made: {error}. "
            "Check that the folder is writable and the disk has room, then run this again."
        ) from error


def _has_pip(env: Environment) -> bool:
    if not env.python.exists():
        return False
    answer = subprocess.run([env.python, "-m", "pip", "--version"], capture_output=True, check=False)
    return answer.returncode == 0


def _say(text: str, *, last: bool = False) -> None:
    """Notes go to the error stream: the standard output belongs to the command (``--json``)."""
    clear = "\r\033[K" if last and sys.stderr.isatty() else ""
    print(f"{clear}arena: {text}", file=sys.stderr, flush=True)


def _note_on_terminal(words: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K  {words}", end="", file=sys.stderr, flush=True)
