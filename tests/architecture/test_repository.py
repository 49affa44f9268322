"""What lies in the repository: its layers, its map in the README, its settings, and nothing of this machine."""

import re
import subprocess
import sys
from pathlib import PurePosixPath

import pytest
from jinja2 import StrictUndefined

from app.config import Settings
from app.setup import ROOT
from app.web.render import make_environment
from tests.architecture.tree import PACKAGES, repository_files

MACHINE_PATH = re.compile(r"(?<![\w.:-])/(?:work|root|home/\w+|Users/\w+|opt/(?:wheels|pypi))/\w+")
REGISTRY = re.compile(r"\b(?:pypi|registry\.npmjs)\.org\b|\bpythonhosted\.|\bpypi\.(?:python|internal)")
BINARY = {".gz", ".ico", ".jpg", ".png", ".safetensors", ".webp", ".woff2", ".zip"}


def test_imports_keep_the_layers() -> None:
    """The contracts of pyproject.toml, in a process of their own: import-linter sets up logging for itself."""
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_setting_stands_in_the_example_file_and_nothing_else() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    fields = {str(field.validation_alias or f"ARENA_{name.upper()}") for name, field in Settings.model_fields.items()}
    listed = re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", text, flags=re.MULTILINE)
    assert sorted(name for name in listed if name.startswith("ARENA_") or name in fields) == sorted(fields)


def test_the_readme_maps_every_file_of_the_packages_once() -> None:
    listed = readme_tree((ROOT / "README.md").read_text(encoding="utf-8"))
    paths = [path for path, _ in listed]
    files = set(repository_files())
    folders = {f"{parent}/" for path in files for parent in PurePosixPath(path).parents if str(parent) != "."}
    expected = {path.split("/")[0] + ("/" if "/" in path else "") for path in files}
    expected |= {
        path
        for path in files
        if path.split("/")[0] in PACKAGES and path.endswith(".py") and not path.endswith("__init__.py")
    }
    assert sorted(expected - set(paths)) == [], "not in the README's file tree"
    assert sorted(set(paths) - files - folders) == [], "in the README's file tree, but not in the repository"
    assert sorted({path for path in paths if paths.count(path) > 1}) == [], "twice in the README's file tree"
    assert [path for path, comment in listed if not comment] == [], "without a word of explanation"


def test_a_tree_is_read_from_indented_lines() -> None:
    lines = ["README.md  this", "app/  the app", "  db.py  engine", "  web/", "    vote.py  votes", "tests/  all"]
    assert readme_tree("\n".join(["## File tree", "", "```", *lines, "```"])) == [
        ("README.md", "this"),
        ("app/", "the app"),
        ("app/db.py", "engine"),
        ("app/web/", ""),
        ("app/web/vote.py", "votes"),
        ("tests/", "all"),
    ]


def test_nothing_names_this_machine_or_a_package_registry() -> None:
    found = []
    for path in repository_files():
        if PurePosixPath(path).suffix in BINARY:
            continue
        text = (ROOT / path).read_text(encoding="utf-8")
        for pattern in (MACHINE_PATH, REGISTRY):
            found += [f"{path}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize("line", ["see /ro" + "ot/x", "in '/wo" + "rk/main'", "https://py" + "pi.org/simple"])
def test_the_patterns_find_what_they_are_for(line: str) -> None:
    assert MACHINE_PATH.search(line) or REGISTRY.search(line)


TEMPLATES = [
    path.removeprefix("templates/") for path in repository_files() if re.match(r"templates/.*\.(html|svg|txt)$", path)
]


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_compile(name: str) -> None:
    environment = make_environment()
    assert environment.undefined is StrictUndefined
    assert environment.autoescape is True
    assert environment.get_template(name).name == name


def readme_tree(text: str) -> list[tuple[str, str]]:
    """The (path, comment) lines of the first code block under "## File tree".

    A line is a path and its comment; an indented line lies in the folder above it (folders end with a slash).
    """
    block = re.search(r"^## File tree\n.*?^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert block is not None, "README.md needs a code block under '## File tree'"
    rows: list[tuple[str, str]] = []
    above: list[tuple[int, str]] = []
    for line in filter(str.strip, block[1].splitlines()):
        indent = len(line) - len(line.lstrip())
        name, _, comment = line.strip().partition(" ")
        above = [(depth, folder) for depth, folder in above if depth < indent]
        path = (above[-1][1] if above else "") + name
        if name.endswith("/"):
            above.append((indent, path))
        rows.append((path, comment.strip().lstrip("#").strip()))
    return rows
