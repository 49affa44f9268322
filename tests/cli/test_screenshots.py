from pathlib import Path
from typing import Any

import pytest

from app.setup import screenshots
from tests.command_line import Command

ALL: dict[str, Any] = {"out": None, "states": [], "page": "", "width": 0, "scheme": "", "readme": False}


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("", {}),
        ("--readme", {"readme": True}),
        ("--state one --state empty --page home", {"states": ["one", "empty"], "page": "home"}),
        ("--out here --width 390 --scheme dark", {"out": Path("here"), "width": 390, "scheme": "dark"}),
    ],
)
def test_what_is_typed_is_drawn(
    arena: Command, monkeypatch: pytest.MonkeyPatch, typed: str, asked: dict[str, Any]
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(screenshots, "main", lambda **wanted: calls.append(wanted) or 3)
    assert arena("screenshots", *typed.split()).code == 3
    assert calls == [ALL | asked]


@pytest.mark.parametrize("typed", ["--width 400", "--scheme sepia", "home", "--nonsense"])
def test_what_cannot_be_drawn_is_wrong_usage_before_anything_is_installed(
    arena: Command, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    monkeypatch.setattr(screenshots, "main", lambda **_: pytest.fail("it went on"))
    assert arena("screenshots", *typed.split()).code == 2
