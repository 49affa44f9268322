"""How far the background installation is: a small JSON file written by the installer."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

FILE_NAME = "setup.json"


class SetupPhase(StrEnum):
    """Life of the background installation."""

    WAITING = "waiting"
    INSTALLING = "installing"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class SetupState:
    """What the page shows about the installation of the training extra.

    Attributes:
        state: where in its life the installation is.
        step: what it does right now, in a few words ("downloading torch").
        message: one sentence for people; after a failure it says what to do next.
        started_at: when the installation began, aware UTC; None before it begins.
        updated_at: when this was written, aware UTC; None if nothing was ever written.
        log: the full output of pip, empty if there is none yet.
    """

    state: SetupPhase = SetupPhase.WAITING
    step: str = ""
    message: str = ""
    started_at: datetime | None = None
    updated_at: datetime | None = None
    log: str = ""


def read_state(home: Path) -> SetupState:
    """The state written last under ``home``; a missing or unreadable file reads as waiting."""
    try:
        row = json.loads((home / FILE_NAME).read_text(encoding="utf-8"))
        return SetupState(
            state=SetupPhase(row["state"]),
            step=row["step"],
            message=row["message"],
            started_at=_time(row["started_at"]),
            updated_at=_time(row["updated_at"]),
            log=row["log"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return SetupState()


def write_state(home: Path, state: SetupState, now: datetime | None = None) -> None:
    """Replace the file in one step: a reader sees the old state or the new one, never half of it.

    ``updated_at`` is set to ``now``, by default the present moment.
    """
    home.mkdir(parents=True, exist_ok=True)
    stamped = replace(state, updated_at=now or datetime.now(UTC))
    handle, temporary = tempfile.mkstemp(dir=home, prefix=FILE_NAME, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(stamped), file, default=datetime.isoformat)
    Path(temporary).replace(home / FILE_NAME)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
