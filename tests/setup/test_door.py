"""The script `arena` itself, run in a small copy of the checkout whose environment is a link to ours."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.setup import ROOT

SHOW = "import os, sys; print(os.getcwd()); print(sys.argv[1:]); print(__file__)"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in a folder with spaces, set up, whose app only prints how it was called."""
    root = tmp_path / "a folder with spaces"
    (root / "app").mkdir(parents=True)
    for name in ("arena", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "app/setup", root / "app/setup")
    (root / "app/__init__.py").touch()
    (root / "app/__main__.py").write_text(SHOW)
    (root / ".venv/bin").mkdir(parents=True)
    (root / ".venv/bin/python").symlink_to(sys.executable)
    stamp = (root / "pyproject.toml").read_bytes() + (root / "constraints.txt").read_bytes()
    (root / ".venv/.arena-base").write_bytes(stamp)
    return root


def run(command: Path, *arguments: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run([command, *arguments], cwd=cwd, env=clean, capture_output=True, text=True, check=False)


def test_arguments_and_working_directory_reach_the_app(checkout: Path, tmp_path: Path) -> None:
    done = run(checkout / "arena", "train", "two words", "--json", "", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder, arguments, file = done.stdout.splitlines()
    assert folder == str(tmp_path)
    assert arguments == "['train', 'two words', '--json', '']"
    assert file == str(checkout / "app/__main__.py")


def test_an_app_folder_in_the_working_directory_is_not_ours(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/__init__.py").touch()
    (tmp_path / "app/__main__.py").write_text("print('somebody else')")
    assert "somebody else" not in run(checkout / "arena", cwd=tmp_path).stdout


def test_a_link_elsewhere_finds_the_checkout(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/arena").symlink_to("../a folder with spaces/arena")
    (tmp_path / "again").symlink_to(tmp_path / "bin/arena")
    assert run(tmp_path / "again", cwd=tmp_path).returncode == 0


def test_changed_requirements_start_the_setup(checkout: Path, tmp_path: Path) -> None:
    (checkout / "app/setup/__main__.py").write_text("import sys; print('setup', sys.argv[1:], file=sys.stderr)")
    assert run(checkout / "arena", cwd=tmp_path).stderr == ""
    with (checkout / "constraints.txt").open("a") as file:
        file.write("new==1.0\n")
    done = run(checkout / "arena", cwd=tmp_path, ARENA_PYTHON=sys.executable)
    assert done.stderr == "setup ['base']\n"
    assert len(done.stdout.splitlines()) == 3, "setup notes must not mix with the output of the command"


def test_a_setup_that_fails_ends_the_command(checkout: Path, tmp_path: Path) -> None:
    (checkout / ".venv/.arena-base").unlink()
    (checkout / "app/setup/__main__.py").write_text("raise SystemExit(1)")
    done = run(checkout / "arena", cwd=tmp_path, ARENA_PYTHON=sys.executable)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "Python 3.11 or newer was not found. Install it, or name it with ARENA_PYTHON=/path/to/python3."),
        ({"ARENA_PYTHON": "/bin/false"}, "ARENA_PYTHON=/bin/false is not a Python 3.11 or newer."),
    ],
)
def test_a_missing_python_is_one_clear_sentence(
    checkout: Path, tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    (checkout / ".venv/.arena-base").unlink()
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "dirname", "readlink", "cat", "cmp"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    (tools / "python3").write_text("#!/bin/sh\nexit 1\n")  # an old Python fails the version check
    (tools / "python3").chmod(0o755)
    done = run(checkout / "arena", cwd=tmp_path, **{"PATH": str(tools), **environment})
    assert done.returncode == 1
    assert done.stderr.startswith(f"arena: {sentence}")
    assert done.stderr.count("\n") == 1


def test_a_python_without_ensurepip_names_the_package_to_install(checkout: Path, tmp_path: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    hide = tmp_path / "hide"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text(
        "import importlib.util as util; find = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'ensurepip' else find(name, package)\n"
    )
    done = run(checkout / "arena", cwd=tmp_path, ARENA_PYTHON=sys.executable, PYTHONPATH=str(hide))
    assert done.returncode == 1
    assert "apt install python3." in done.stderr
    assert not (checkout / ".venv").exists()
