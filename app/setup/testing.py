"""`./arena test`: install what the checks need, find the real services, then lint, type-check and test.

Without pytest arguments every stage runs and the first failure ends it; with arguments only pytest runs, on
what they select. ``--all`` adds the slow simulations and the real model, and nothing may be skipped for want
of a service.
"""

import importlib.util
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from app.setup import ROOT, local_home
from app.setup.extras import SetupError, extra_installed, install_extra
from app.setup.programs import Program, find_postgres, get_chromium, get_redis

_CODE = ["app", "worker", "training", "tests", "migrations"]
_WORKERS = "2"
_LINT_IMPORTS = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"


@dataclass(frozen=True)
class Stage:
    """One check: its name for the terminal, its command, and whether its output is shown while it runs."""

    name: str
    command: list[str]
    live: bool = False


def main(args: list[str]) -> int:
    """Run the suite.

    Args:
        args: ``--all`` anywhere, everything else is passed on to pytest.

    Returns:
        0 if everything passed, 1 if something failed or could not be set up, else pytest's own exit code.
    """
    everything = "--all" in args
    pytest_args = [argument for argument in args if argument != "--all"]
    log = local_home() / "setup.log"
    started = time.monotonic()
    try:
        _install(log)
        _say_services(log)
    except SetupError as error:
        print(f"arena: {error}", file=sys.stderr)
        return 1
    print(f"setup: {time.monotonic() - started:.0f} s\n", flush=True)
    for stage in stages(everything=everything, pytest_args=pytest_args):
        code = _run(stage, _environment(everything=everything))
        if code != 0:
            print(f"arena: {stage.name} failed; the stages after it did not run.", file=sys.stderr)
            return code
    print(f"All checks passed in {time.monotonic() - started:.0f} s.")
    return 0


def stages(*, everything: bool, pytest_args: list[str]) -> list[Stage]:
    """What runs, in order: the quick checks first, and none of them when pytest was given arguments."""
    python = sys.executable
    select = ["-m", ""] if everything else []
    spread = [] if pytest_args else ["-n", _WORKERS, "--dist", "worksteal"]
    tests = Stage("pytest", [python, "-m", "pytest", *spread, *select, *pytest_args], live=True)
    if pytest_args:
        return [tests]
    code = [folder for folder in _CODE if (ROOT / folder).is_dir()]
    return [
        Stage("ruff check", [python, "-m", "ruff", "check", *code]),
        Stage("ruff format", [python, "-m", "ruff", "format", "--check", *code]),
        Stage("mypy", [python, "-m", "mypy"]),
        Stage("lint-imports", [python, "-c", _LINT_IMPORTS]),
        tests,
    ]


def _install(log: Path) -> None:
    for extra, note in (("test", "about a minute"), ("train", "PyTorch: a minute or more")):
        if not extra_installed(extra):
            print(f"Installing the {extra} extra ({note}) ...", flush=True)
            install_extra(extra, log, _note_on_terminal)
    if not extra_installed("servers"):
        print("Installing Postgres and Redis binaries ...", flush=True)
        try:
            install_extra("servers", log, _note_on_terminal)
        except SetupError as error:
            # Not made for every system; the machine may have its own, and the tests say so if it has not.
            print(f"  not available here: {str(error).splitlines()[0]}", flush=True)


def _say_services(log: Path) -> None:
    """Find or install the real services and name what runs which."""
    missing = "none: tests that need it are skipped, or fail under --all and CI=true"
    database = os.environ.get("TEST_DATABASE_URL") and "TEST_DATABASE_URL"
    redis = os.environ.get("TEST_REDIS_URL") and "TEST_REDIS_URL"
    found: dict[str, str | Program | None] = {
        "Chromium": get_chromium(log),
        "Postgres": database or find_postgres(),
        "Redis": redis or get_redis(log),
        "SQLite": "Python's own",
        "PyTorch": "train extra" if importlib.util.find_spec("torch") else None,
    }
    for name, what in found.items():
        print(f"{name:<9} {what or missing}", flush=True)


def _environment(*, everything: bool) -> dict[str, str]:
    environment = {
        **os.environ,
        # Several workers share the cores: more threads each would only wait for one another.
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    if everything:
        environment["ARENA_TEST_STRICT"] = "1"
    return environment


def _run(stage: Stage, environment: dict[str, str]) -> int:
    """Run a stage from the checkout's root, report its time, and show its output if it failed."""
    print(f"{stage.name} ...", end="\n" if stage.live else " ", flush=True)
    started = time.monotonic()
    done = subprocess.run(
        stage.command,
        cwd=ROOT,
        env=environment,
        check=False,
        text=True,
        stdout=None if stage.live else subprocess.PIPE,
        stderr=None if stage.live else subprocess.STDOUT,
    )
    verdict = "passed" if done.returncode == 0 else f"failed (exit code {done.returncode})"
    prefix = f"{stage.name} " if stage.live else ""
    print(f"{prefix}{verdict}, {time.monotonic() - started:.1f} s", flush=True)
    if done.returncode != 0 and done.stdout:
        print(done.stdout, flush=True)
    return done.returncode


def _note_on_terminal(words: str) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K  {words}", end="", flush=True)
