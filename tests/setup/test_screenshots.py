import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.setup import ROOT, screenshots
from app.setup.extras import SetupError

NOTHING: dict[str, Any] = {"out": None, "states": [], "page": "", "width": 0, "scheme": "", "readme": False}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Everything is installed; the commands that would draw."""
    commands: list[list[str]] = []

    def run(command: list[str], *, cwd: Path, check: bool) -> subprocess.CompletedProcess[str]:
        assert (cwd, check) == (ROOT, False)
        commands.append(command[1:])
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setenv("ARENA_HOME", str(tmp_path))
    monkeypatch.setattr(screenshots, "extra_installed", lambda _: True)
    monkeypatch.setattr(screenshots, "get_chromium", lambda _: "a browser")
    monkeypatch.setattr(screenshots.subprocess, "run", run)
    return commands


def test_everything_is_drawn_into_the_local_state(ran: list[list[str]], tmp_path: Path) -> None:
    assert screenshots.main(**NOTHING) == 3
    assert ran == [["-m", "tests.browser.screenshots", str(tmp_path / "screenshots")]]


def test_what_is_asked_for_reaches_the_drawing(
    ran: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    some = {"out": Path("here"), "states": ["one", "empty"], "page": "home", "width": 390, "scheme": "dark"}
    screenshots.main(**some, readme=True)
    options = ["--page", "home", "--width", "390", "--scheme", "dark", "--readme"]
    assert ran[0][2:] == [str(tmp_path / "here"), "one", "empty", *options]


def test_without_a_browser_nothing_is_drawn(ran: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screenshots, "get_chromium", lambda _: None)
    with pytest.raises(SetupError, match=r"There is no Chromium here\."):
        screenshots.main(**NOTHING)
    assert ran == []


def test_the_test_extra_comes_first(
    ran: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed: list[tuple[str, Path]] = []
    monkeypatch.setattr(screenshots, "extra_installed", lambda name: name != "test")
    monkeypatch.setattr(screenshots, "install_extra", lambda name, log, _: installed.append((name, log)))
    screenshots.main(**NOTHING)
    assert installed == [("test", tmp_path / "setup.log")]
    assert "Installing the test extra" in capsys.readouterr().err
    assert len(ran) == 1
