from collections.abc import Callable
from pathlib import Path

import pytest

from app.setup import background
from app.setup.background import install_train
from app.setup.extras import SetupError
from app.setup.state import SetupPhase, read_state

Install = Callable[[str, Path, Callable[[str], None], str], None]


def replace_installer(monkeypatch: pytest.MonkeyPatch, install: Install, *, installed: bool = False) -> None:
    monkeypatch.setattr(background, "install_extra", install)
    monkeypatch.setattr(background, "extra_installed", lambda _: installed)


def test_the_page_can_follow_the_steps_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[SetupPhase, str]] = []

    def install(name: str, log: Path, on_progress: Callable[[str], None], torch: str) -> None:
        assert (name, log, torch) == ("train", tmp_path / "setup.log", "cpu")
        for step in ("", "downloading torch"):
            if step:
                on_progress(step)
            state = read_state(tmp_path)
            seen.append((state.state, state.step))

    replace_installer(monkeypatch, install)
    assert install_train(tmp_path, "cpu") is True
    assert seen == [(SetupPhase.INSTALLING, "starting pip"), (SetupPhase.INSTALLING, "downloading torch")]
    end = read_state(tmp_path)
    assert (end.state, end.step) == (SetupPhase.READY, "")
    assert end.started_at is not None


def test_a_failure_is_told_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(*_: object) -> None:
        raise SetupError("pip could not install torch.")

    replace_installer(monkeypatch, install)
    assert install_train(tmp_path) is False
    assert read_state(tmp_path).state is SetupPhase.FAILED
    assert read_state(tmp_path).message == "pip could not install torch."


def test_an_interruption_does_not_leave_a_page_that_waits_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(*_: object) -> None:
        raise SystemExit(143)

    replace_installer(monkeypatch, install)
    with pytest.raises(SystemExit):
        install_train(tmp_path)
    assert read_state(tmp_path).state is SetupPhase.WAITING
    assert "next start" in read_state(tmp_path).message


def test_what_is_installed_already_is_ready_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(*_: object) -> None:
        raise AssertionError("pip must not run")

    replace_installer(monkeypatch, install, installed=True)
    assert install_train(tmp_path) is True
    assert read_state(tmp_path).state is SetupPhase.READY
