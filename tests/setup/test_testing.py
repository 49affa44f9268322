import sys
from pathlib import Path

import pytest

from app.setup import testing
from app.setup.extras import SetupError
from app.setup.testing import Stage, main, stages


def names(*, everything: bool = False, pytest_args: list[str] | None = None) -> list[str]:
    return [stage.name for stage in stages(everything=everything, pytest_args=pytest_args or [])]


def test_the_quick_checks_come_before_the_tests() -> None:
    assert names() == ["ruff check", "ruff format", "mypy", "lint-imports", "pytest"]


def test_pytest_arguments_run_pytest_alone_and_reach_it() -> None:
    (stage,) = stages(everything=False, pytest_args=["tests/domain", "-k", "tie"])
    assert stage.command[-3:] == ["tests/domain", "-k", "tie"]
    assert "-n" not in stage.command


def test_all_takes_back_the_selection_of_the_quick_tests() -> None:
    quick, everything = (stages(everything=choice, pytest_args=[])[-1].command for choice in (False, True))
    assert "-m" not in quick[3:]
    assert everything[everything.index("-m", 3) + 1] == ""


@pytest.fixture
def no_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "_install", lambda _: None)
    monkeypatch.setattr(testing, "_say_services", lambda _: None)


def script(name: str, text: str) -> Stage:
    return Stage(name, [sys.executable, "-c", text])


def test_the_first_failure_ends_the_run_and_shows_its_output(
    no_installs: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = [
        script("good", "print('quiet')"),
        script("bad", "print('the reason'); raise SystemExit(3)"),
        script("late", "print('never')"),
    ]
    monkeypatch.setattr(testing, "stages", lambda **_: run)
    assert main([]) == 3
    out, err = capfd.readouterr()
    assert "the reason" in out
    assert "quiet" not in out
    assert "never" not in out
    assert "bad failed; the stages after it did not run" in err


@pytest.mark.parametrize(("args", "strict"), [([], "None"), (["--all"], "1")])
def test_all_lets_nothing_be_skipped_for_want_of_a_service(
    no_installs: None, monkeypatch: pytest.MonkeyPatch, args: list[str], strict: str
) -> None:
    monkeypatch.delenv("ARENA_TEST_STRICT", raising=False)
    text = f"import os; raise SystemExit(str(os.environ.get('ARENA_TEST_STRICT')) != {strict!r})"
    monkeypatch.setattr(testing, "stages", lambda **_: [script("look", text)])
    assert main(args) == 0


def test_an_install_that_fails_is_one_sentence_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_log: Path) -> None:
        raise SetupError("pip could not install pytest.")

    monkeypatch.setattr(testing, "_install", fail)
    assert main([]) == 1
    assert capsys.readouterr().err == "arena: pip could not install pytest.\n"
