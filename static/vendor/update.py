# ruff: noqa: INP001 - a script, run by its path
"""Fetches the browser code that others wrote, and records what exactly is in the repository.

Run by hand when a version below changes; nothing is fetched from npm when the arena runs:

    python static/vendor/update.py           # replaces the files and VENDOR.json
    python static/vendor/update.py --check   # only compares the files here with VENDOR.json

Needs ``npm`` (for ``npm pack``, which runs no install scripts) and Python's standard library.
"""

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "static/vendor/VENDOR.json"


@dataclass(frozen=True)
class Package:
    """One npm package and where its files go: ``{path inside the package: path in the repository}``."""

    name: str
    version: str
    licence: str
    files: dict[str, str]


PACKAGES = (
    Package(
        name="htmx.org",
        version="4.0.1",
        licence="0BSD",
        files={
            "dist/htmx.min.js": "static/vendor/htmx-4.0.1.min.js",
            "dist/ext/hx-sse.min.js": "static/vendor/hx-sse-4.0.1.min.js",
            "dist/scripts/upgrade-check.py": "tests/web/vendor/htmx-upgrade-check.py",
            "LICENSE": "static/vendor/htmx-LICENSE.txt",
        },
    ),
    Package(
        name="axe-core",
        version="4.14.1",
        licence="MPL-2.0",
        files={
            "axe.min.js": "tests/browser/vendor/axe.min.js",
            "LICENSE": "tests/browser/vendor/axe-LICENSE.txt",
        },
    ),
)


@dataclass(frozen=True)
class Entry:
    """One line of VENDOR.json. ``sha384`` is written as in the ``integrity`` attribute of a script."""

    file: str
    package: str
    version: str
    source: str
    licence: str
    sha384: str


def digest(content: bytes) -> str:
    """The sha384 of ``content`` in the form ``sha384-<base64>``."""
    return "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()


def fetch(package: Package, folder: Path) -> dict[str, bytes]:
    """Download one package into ``folder`` and return ``{path inside the package: content}``."""
    command = ["npm", "pack", f"{package.name}@{package.version}", "--silent"]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)  # noqa: S603 - fixed words only
    archive = next(folder.glob("*.tgz"))
    contents: dict[str, bytes] = {}
    with tarfile.open(archive) as tar:
        for path in package.files:
            member = tar.extractfile(f"package/{path}")
            if member is None:
                message = f"{package.name} {package.version} has no file {path}; nothing was replaced."
                raise SystemExit(message)
            contents[path] = member.read()
    return contents


def update() -> None:
    """Replace every vendored file and VENDOR.json. Downloads everything before it writes anything."""
    found: list[tuple[Package, str, bytes]] = []
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as folder:
            found += [(package, path, content) for path, content in fetch(package, Path(folder)).items()]
    entries = []
    for package, path, content in found:
        target = package.files[path]
        (ROOT / target).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / target).write_bytes(content)
        entries.append(Entry(target, package.name, package.version, path, package.licence, digest(content)))
    RECORD.write_text(json.dumps([asdict(entry) for entry in entries], indent=2) + "\n")


def differences() -> list[str]:
    """One sentence for each recorded file that is missing or was changed by hand."""
    problems = []
    for entry in json.loads(RECORD.read_text()):
        file = ROOT / entry["file"]
        if not file.is_file():
            problems.append(f"{entry['file']} is missing; run static/vendor/update.py.")
        elif digest(file.read_bytes()) != entry["sha384"]:
            problems.append(f"{entry['file']} differs from its record; run static/vendor/update.py.")
    return problems


def main() -> int:
    """Exit status 0 when all files match their record, 1 when one does not."""
    parser = argparse.ArgumentParser(description="Update or check the vendored browser code.")
    parser.add_argument("--check", action="store_true", help="compare with VENDOR.json, fetch nothing")
    if not parser.parse_args().check:
        update()
    problems = differences()
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
