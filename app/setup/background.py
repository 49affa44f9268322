"""The training extra behind the running page: installs, and keeps the state file true while it does."""

from datetime import UTC, datetime
from pathlib import Path

from app.setup.extras import SetupError, install_extra
from app.setup.state import SetupPhase, SetupState, write_state

EXTRA = "train"


def install_train(home: Path, torch: str = "auto") -> bool:
    """Install the training extra and report every step in ``home/setup.json``. Blocks until it is done.

    Returns:
        Whether training and generation can run now; if not, the state's message says why and what to do.
    """
    log = home / "setup.log"
    state = SetupState(
        state=SetupPhase.INSTALLING,
        step="starting pip",
        message="PyTorch and the training packages are being installed; pages work meanwhile.",
        started_at=datetime.now(UTC),
        log=str(log),
    )

    def tell(step: str) -> None:
        write_state(home, SetupState(state.state, step, state.message, state.started_at, None, state.log))

    tell(state.step)
    try:
        install_extra(EXTRA, log, tell, torch)
    except SetupError as error:
        write_state(home, SetupState(SetupPhase.FAILED, "", str(error), state.started_at, None, state.log))
        return False
    ready = "Everything that trains and generates is installed."
    write_state(home, SetupState(SetupPhase.READY, "", ready, state.started_at, None, state.log))
    return True
