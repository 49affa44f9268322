"""``./arena up`` as a process: the page, the link, the workers, and nothing left behind."""

import json
import re
import signal
import socket
from pathlib import Path

import httpx
import pytest

from app.cli import demo
from app.db import Database
from app.domain.terms import Queue
from app.models import Worker
from app.setup.extras import extra_installed
from tests.conftest import unavailable
from tests.processes import PATIENCE_SECONDS, OwnArena, wait_for


@pytest.fixture
def up(tmp_path: Path) -> OwnArena:
    """An empty home. Nothing may be installed by a test, so the training extra must be there already."""
    if not extra_installed("train"):
        unavailable("The training extra is not installed as pyproject.toml says; ./arena test installs it.")
    if not Path("/proc/self").exists():
        unavailable("Processes are found by /proc, which this system does not have.")
    return OwnArena.at(tmp_path / "home")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def entry_link(arena: OwnArena) -> str:
    """The link that the newest start printed."""
    found: list[str] = []

    def printed() -> bool:
        said = arena.output.read_text(encoding="utf-8")
        found[:] = re.findall(r"http://\S+/enter/\S+", said.rpartition("Stopping")[2])
        return bool(found)

    wait_for(printed, "the entry link")
    return found[-1]


def test_up_serves_signs_in_once_works_and_leaves_nothing_behind(up: OwnArena) -> None:
    port = free_port()
    with up.running("up", "--port", str(port)) as process:
        link = entry_link(up)
        assert link.startswith(f"http://127.0.0.1:{port}/enter/")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as browser:
            assert browser.get("/healthz").status_code == 200
            assert browser.get("/").status_code == 401
            assert browser.get(link).status_code == 200  # a program that fetches links ahead does not use it up
            assert browser.post(link).status_code == 303
            assert browser.get("/").status_code == 200
            assert browser.post(link).status_code == 403
            assert up.command("admin", "link").stdout.startswith(f"http://127.0.0.1:{port}/enter/")
            second = up.command("up", "--port", str(port))
            assert (second.returncode, second.stderr.count("\n")) == (1, 1)
            assert f"127.0.0.1:{port}" in second.stderr
        database = Database.at(f"sqlite:///{up.home / 'arena.db'}")

        def queues() -> set[Queue]:
            with database.session_scope(write=False) as session:
                return {worker.queue for worker in session.query(Worker)}

        wait_for(lambda: queues() == set(Queue), "both workers")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert up.processes() == []
        assert queues() == set()
        database.engine.dispose()
    with up.running("up", "--port", str(port)) as process:
        assert entry_link(up) != link
        process.send_signal(signal.SIGHUP)  # the terminal is closed
        assert process.wait(PATIENCE_SECONDS) == 0
        assert up.processes() == []
    assert "Traceback" not in up.output.read_text(encoding="utf-8")


def test_an_error_of_a_real_process_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    arena = OwnArena.at(tmp_path / "home")
    said = arena.command("train", "brie-v9")
    assert (said.returncode, said.stdout, said.stderr.count("\n")) == (1, "", 1)
    assert said.stderr.startswith("arena: There is no recipe 'brie-v9'.")


def test_up_with_simulated_judges_offers_three_that_are_labelled_and_stops_them_too(up: OwnArena) -> None:
    with up.running("up", "--port", str(free_port()), "--demo-judges") as process:
        assert entry_link(up)
        assert httpx.get(f"{demo.URL}/v1/models", trust_env=False).is_success
        listed = json.loads(up.command("judges", "list", "--json").stdout)
        assert {judge["name"]: (judge["base_url"], judge["simulated"]) for judge in listed} == dict.fromkeys(
            demo.JUDGES, (demo.URL, True)
        )
        second = up.command("up", "--port", str(free_port()), "--demo-judges")
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
        assert "Simulated judges have no other" in second.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert up.processes() == []
    assert not demo.answers()
    assert "With simulated judges" in up.output.read_text(encoding="utf-8")
