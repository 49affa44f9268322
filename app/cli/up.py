"""``arena up``: the web page at once, the training extra behind it, then the workers; Ctrl-C stops everything."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx

from app.cli import demo
from app.cli.address import address, remember
from app.cli.output import console
from app.cli.prepare import prepare
from app.config import ROOT, Settings
from app.db import session_scope
from app.domain.errors import BadInputError, UnavailableError
from app.services import accounts
from app.setup.extras import TORCH_CHOICES

if TYPE_CHECKING:
    from types import FrameType

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_RESTART_SECONDS = 5.0


def require_free_port(host: str, port: int, instead: str = "Choose another with --port.") -> None:
    """Refuse a port that somebody listens on.

    Raises:
        BadInputError: it is in use or not allowed; says how to choose another.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadInputError(f"The arena cannot listen on {host}:{port} ({error.strerror}). {instead}") from error


@dataclass
class _Children:
    """The processes of a running arena. Workers that die come back; the page and simulated judges do not."""

    settings: Settings
    host: str
    port: int
    torch: str
    stopping: threading.Event = field(default_factory=threading.Event)
    web: "subprocess.Popen[bytes] | None" = None
    judges: "subprocess.Popen[bytes] | None" = None
    _running: "list[subprocess.Popen[bytes]]" = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start_web(self) -> None:
        """Start the page and wait until it answers."""
        self.web = self._start(
            "uvicorn", "app.main:create_app", "--factory", "--host", self.host, "--port", str(self.port),
            "--log-level", "warning", "--no-access-log", "--no-server-header",
            "--timeout-graceful-shutdown", "2",  # an open event stream would hold the exit otherwise
        )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while self.web is not None and self.web.poll() is None and time.monotonic() < deadline:
            if self.stopping.is_set():
                return
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.address}/healthz", timeout=2, trust_env=False).raise_for_status()
                return
            time.sleep(0.05)
        if not self.stopping.is_set():
            raise UnavailableError("The web page did not start; the lines above say why.")

    def start_demo_judges(self) -> None:
        """Start the server of simulated judges, wait until it answers, and add three judges that ask it."""
        require_free_port("127.0.0.1", demo.PORT, "Simulated judges have no other: stop what listens there.")
        self.judges = self._start("app.demo_judges", *demo.ARGUMENTS)
        deadline = time.monotonic() + _START_SECONDS
        while self.judges is not None and not self.stopping.is_set() and not demo.answers():
            if self.judges.poll() is not None or time.monotonic() > deadline:
                raise UnavailableError("The simulated judges did not start; the lines above say why.")
            time.sleep(0.05)
        demo.offer(self.settings)

    @property
    def address(self) -> str:
        """Where the page is, as seen from this machine."""
        return address(self.host, self.port)

    def install_then_work(self) -> None:
        """Install the training extra, then keep workers running."""
        installer = self._start("app.setup", "train", "--torch", self.torch, "--home", str(self.settings.home))
        if installer is None or installer.wait() != 0:
            return  # the page says what went wrong
        while (worker := self._start("app", "worker", "--parent", str(os.getpid()))) is not None:
            worker.wait()
            self.stopping.wait(_RESTART_SECONDS)

    def _start(self, module: str, *arguments: str) -> "subprocess.Popen[bytes] | None":
        """A process of ours, or ``None`` when everything is being stopped: none may start behind ``stop``."""
        with self._lock:
            if self.stopping.is_set():
                return None
            process = subprocess.Popen(  # noqa: S603 (our own modules, no shell)
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                start_new_session=True,  # a Ctrl-C reaches us alone, and we stop the others in order
            )
            self._running.append(process)
            return process

    def stop(self) -> None:
        """End everything that was started here."""
        with self._lock:
            self.stopping.set()
        for process in self._running:
            process.terminate()  # does nothing to one that has ended
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self._running:
            try:
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


def run(*, host: str, port: int, torch: str, demo_judges: bool = False) -> int:
    """Run the arena until Ctrl-C; returns the exit code."""
    begun = time.monotonic()
    if torch not in TORCH_CHOICES:
        raise BadInputError(
            f"There is no build of PyTorch called {torch!r}; choose one of: {', '.join(TORCH_CHOICES)}."
        )
    require_free_port(host, port)
    settings = prepare()
    children = _Children(settings, host, port, torch)

    def on_signal(_number: int, _frame: "FrameType | None") -> None:
        children.stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the last: the terminal was closed
        signal.signal(number, on_signal)
    try:
        if demo_judges:
            children.start_demo_judges()
        children.start_web()
        if children.stopping.is_set():
            return 0
        remember(settings, host, port)
        with session_scope() as session:
            token = accounts.owner_link(session, now=datetime.now(UTC))
        console.print(f"Brie Arena is up after {time.monotonic() - begun:.1f} s.", highlight=False)
        console.print("Open it as admin (works once, within a day):", highlight=False)
        console.print(f"  {children.address}/enter/{token}", soft_wrap=True, highlight=False)
        console.print(f"Later: {children.address}   Stop with Ctrl-C.", highlight=False)
        if demo_judges:
            console.print(demo.WORDS, highlight=False, soft_wrap=True)
        threading.Thread(target=children.install_then_work, daemon=True, name="install").start()
        while not children.stopping.is_set():
            if children.web is not None and children.web.poll() is not None:
                raise UnavailableError("The web page stopped; the lines above say why. Nothing stored was lost.")
            if children.judges is not None and children.judges.poll() is not None:
                raise UnavailableError(
                    "The simulated judges stopped; the lines above say why. Nothing stored was lost."
                )
            children.stopping.wait(0.5)
    finally:
        with contextlib.suppress(OSError):  # a terminal that was closed takes no words
            console.print("Stopping …", highlight=False)
        children.stop()
    return 0
