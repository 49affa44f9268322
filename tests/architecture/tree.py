"""The files of the repository, as the architecture tests look at them."""

import ast
import os
import subprocess
from functools import cache
from pathlib import Path

from app.setup import ROOT

PACKAGES = ("app", "worker", "training")
_LOCAL = {".git", ".venv", "var", "node_modules", "__pycache__"}


@cache
def repository_files() -> tuple[str, ...]:
    """Paths of all files that are or would be committed, relative to the root, sorted.

    Outside of a git checkout (an unpacked archive): everything but the local folders.
    """
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        return tuple(sorted(path for path in set(listed.split("\0")) if (ROOT / path).is_file()))
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in _LOCAL and not name.endswith("_cache")]
        found += [Path(folder, name).relative_to(ROOT).as_posix() for name in names]
    return tuple(sorted(found))


def modules(*packages: str) -> list[str]:
    """Paths of our own Python files under these top-level folders; by default of the three packages."""
    wanted = packages or PACKAGES
    ours = [path for path in repository_files() if path.endswith(".py") and "/vendor/" not in path]
    return [path for path in ours if path.split("/")[0] in wanted]


@cache
def parsed(path: str) -> ast.Module:
    """The syntax tree of a Python file of the repository."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=path)


def dotted(node: ast.expr) -> str:
    """``a.b.c`` for such an expression, and an empty text for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""
