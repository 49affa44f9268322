"""What a training says, as lines of the log of its run."""

from datetime import datetime

from sqlalchemy.orm import Session

from app.domain.terms import LineKind
from app.models import Run
from app.services.run_log import say
from training import display, events

STEP_LINES = 200
"""Of one run: with more steps than that not each of them has a line."""


class RunLines:
    """Lines that wait to be stored, each with the moment at which it was said."""

    def __init__(self) -> None:
        self._waiting: list[tuple[datetime, LineKind, str]] = []
        self._total = 0

    def hear(self, event: events.Event, now: datetime) -> None:
        """An event becomes a line, if it is one that people read."""
        match event:
            case events.Previewed() | events.Keeping():
                return
            case events.Warned():
                self.add(event.message, now, LineKind.WARNING)
                return
            case events.Started():
                self._total = event.total_steps
            case events.StepDone() if not self._has_line(event.step):
                return
        self.add(display.sentence(event), now)

    def add(self, text: str, now: datetime, kind: LineKind = LineKind.TOLD) -> None:
        """A line that comes from no event."""
        self._waiting.append((now, kind, text))

    def store(self, session: Session, run: Run) -> None:
        """Add what waits to the log; ``stored`` forgets it once the transaction has held."""
        say(session, run, self._waiting)

    def stored(self) -> None:
        """What waited is stored."""
        self._waiting = []

    def _has_line(self, step: int) -> bool:
        """Evenly spread over the run, with its first step and its last."""
        return step == 1 or step * STEP_LINES // self._total != (step - 1) * STEP_LINES // self._total
