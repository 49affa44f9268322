"""The training extra behind the running page: installs, and keeps the state file true while it does."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from app.setup.extras import SetupError, extra_installed, install_extra
from app.setup.state import SetupPhase, SetupState, write_state

EXTRA = "train"


def install_train(home: Path, torch: str = "auto") -> bool:
    """Install the training extra and report every step in ``home/setup.json``. Blocks until it is done.

    To be able to stop it, run it as a process: ``python -m app.setup train`` ends pip when it is terminated.

    Returns:
        Whether training and generation can run now; if not, the state's message says why and what to do.
    """
    log = home / "setup.log"
    installing = SetupState(
        state=SetupPhase.INSTALLING,
        step="starting pip",
        message="PyTorch and the training packages are being installed; pages work meanwhile.",
        started_at=datetime.now(UTC),
        log=str(log),
    )
    end = replace(
        installing,
        state=SetupPhase.WAITING,
        step="",
        message="The installation was interrupted; the next start takes it up where it ended.",
    )
    try:
        if torch != "auto" or not extra_installed(EXTRA):
            write_state(home, installing)
            install_extra(EXTRA, log, lambda step: write_state(home, replace(installing, step=step)), torch)
        ready = "Everything that trains and generates is installed."
        end = replace(end, state=SetupPhase.READY, message=ready)
    except SetupError as error:
        end = replace(end, state=SetupPhase.FAILED, message=str(error))
    finally:
        write_state(home, end)
    return end.state is SetupPhase.READY
