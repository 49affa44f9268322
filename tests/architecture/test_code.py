"""Rules of the code base that no linter knows: who commits, who swallows errors, where chance comes from."""

import ast
import tomllib

from app import __version__
from app.setup import ROOT
from tests.architecture.tree import dotted, modules, parsed

MAX_LINES = 500
OUTERMOST = {"worker/child.py": 1}
"""The outermost step of the worker: whatever a job raises becomes the error of its row."""

SEEDED = {"default_rng", "Generator", "SeedSequence", "BitGenerator", "PCG64", "Philox", "Random", "SystemRandom"}
"""Makers of generators that are handed on as arguments; everything else of these modules is global state."""

BLIND = (
    "app/web/vote.py", "app/web/api.py", "app/web/clients.py", "app/queries/ballots.py", "app/queries/seats.py"
)  # fmt: skip
TELLTALE = {"BaseModel", "BatchCheckpoint", "Checkpoint", "Dataset", "Run", "RunDataset", "RunMetric"}


def test_only_the_session_scope_commits() -> None:
    commits = [
        path
        for path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit"
    ]
    assert commits == ["app/db.py"]


def test_every_error_is_caught_by_name_but_at_the_outermost_step() -> None:
    found: dict[str, int] = {}
    for path in modules():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ExceptHandler) and _catches_everything(node) and not _passes_on(node):
                found[path] = found.get(path, 0) + 1
    assert found == OUTERMOST


def test_modules_stay_short() -> None:
    lengths = {
        path: len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for path in modules("app", "worker", "training", "tests", "migrations")
    }
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_chance_comes_from_generators_that_are_handed_in() -> None:
    calls = {
        f"{path}:{node.lineno} {dotted(node.func)}"
        for path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and _is_global_chance(dotted(node.func))
    }
    imported = {
        f"{path}:{node.lineno} from {node.module} import {name.name}"
        for path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.module in {"random", "numpy.random"}
        for name in node.names
        if name.name not in SEEDED
    }
    assert calls | imported == set()


def test_the_blind_side_imports_no_table_that_names_a_checkpoint() -> None:
    names = {
        f"{path} imports {name.name}"
        for path in BLIND
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("app.models")
        for name in node.names
        if name.name in TELLTALE
    }
    assert names == set()


def test_the_project_file_and_the_package_agree_on_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or dotted(kind) in {"Exception", "BaseException"} for kind in kinds)


def _passes_on(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _is_global_chance(name: str) -> bool:
    module, _, function = name.rpartition(".")
    return module in {"random", "np.random", "numpy.random"} and function not in SEEDED
