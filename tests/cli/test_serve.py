"""The page and its workers as a container runs them: each a process of its own."""

import socket
from pathlib import Path

import httpx
import pytest

from app.setup.extras import extra_installed
from tests.cli.test_up import free_port
from tests.conftest import unavailable
from tests.processes import QUICK, OwnArena, wait_for


@pytest.fixture
def apart(tmp_path: Path) -> OwnArena:
    if not Path("/proc/self").exists():
        unavailable("Processes are found by /proc, which this system does not have.")
    return OwnArena.at(tmp_path / "home", **QUICK)


def test_the_page_alone_is_ready_and_installs_nothing(apart: OwnArena) -> None:
    port = free_port()
    with apart.running("serve", "--port", str(port)), httpx.Client(trust_env=False) as browser:

        def answers() -> bool:
            try:
                return browser.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
            except httpx.TransportError:
                return False

        wait_for(answers, "the page")
        link = apart.command("admin", "link").stdout.strip()
        assert link.startswith(f"http://127.0.0.1:{port}/enter/")
        assert browser.post(link).status_code == 303
        assert "Workers train and generate elsewhere." in browser.get(f"http://127.0.0.1:{port}/settings").text
        assert len(apart.processes("app")) == 1
        said = apart.command("worker", "--check")
        assert (said.returncode, said.stdout) == (1, "")
        assert f"No worker of {socket.gethostname()} has been heard of lately for: gpu, io." in said.stderr


def test_a_worker_that_lives_is_found_by_its_health_check(apart: OwnArena) -> None:
    if not extra_installed("train"):
        unavailable("The training extra is not installed as pyproject.toml says; ./arena test installs it.")
    assert apart.command("status").returncode == 0  # makes the tables
    with apart.running("worker", "--queue", "io"):
        wait_for(lambda: apart.command("worker", "--check", "--queue", "io").returncode == 0, "a worker that is alive")
        assert apart.command("worker", "--check").returncode == 1  # nobody looks after the other queue
