import os
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Barrier, Thread

import pytest

from tests.servers import once
from tests.servers.once import Server


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = once.make_run_folder()
    monkeypatch.setenv(once.RUN_FOLDER, str(folder))
    return folder


def leaving(mark: Path) -> Server:
    """A server whose stopping can be seen afterwards."""
    return Server(url="redis://nowhere", stop=["touch", str(mark)])


def test_many_that_ask_at_once_get_one_server(run_folder: Path, tmp_path: Path) -> None:
    started: list[Path] = []
    urls: list[str] = []
    together = Barrier(6)

    def start(folder: Path) -> Server:
        started.append(folder)
        return leaving(tmp_path / "stopped")

    def ask() -> None:
        together.wait()
        urls.append(once.once("redis", start))

    threads = [Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert started == [run_folder]
    assert urls == ["redis://nowhere"] * 6


def test_a_start_that_fails_is_tried_again_by_the_next_who_asks(run_folder: Path, tmp_path: Path) -> None:
    def fail(_folder: Path) -> Server:
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        once.once("redis", fail)
    assert once.once("redis", lambda _: leaving(tmp_path / "stopped")) == "redis://nowhere"


def test_the_end_of_a_run_stops_its_servers_and_removes_its_folder(run_folder: Path, tmp_path: Path) -> None:
    once.once("redis", lambda _: leaving(tmp_path / "stopped"))
    once.stop_all(run_folder)
    assert (tmp_path / "stopped").exists()
    assert not run_folder.exists()


def test_a_server_whose_programs_are_gone_keeps_no_other_from_being_stopped(run_folder: Path, tmp_path: Path) -> None:
    once.once("postgres", lambda _: Server(url="postgresql://nowhere", stop=[str(tmp_path / "gone" / "pg_ctl")]))
    once.once("redis", lambda _: leaving(tmp_path / "stopped"))
    once.stop_all(run_folder)
    assert (tmp_path / "stopped").exists()
    assert not run_folder.exists()


def test_only_runs_whose_process_is_gone_are_cleaned_up(run_folder: Path, tmp_path: Path) -> None:
    once.once("redis", lambda _: leaving(tmp_path / "stopped"))
    once.stop_abandoned()
    assert run_folder.exists(), f"process {os.getpid()} still runs"
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    (run_folder / "pid").write_text(ended.stdout.decode().strip())
    once.stop_abandoned()
    assert (tmp_path / "stopped").exists()
    assert not run_folder.exists()
