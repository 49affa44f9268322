"""The one error family. A message says what happened, what was kept and what to do next."""

from http import HTTPStatus


class ArenaError(Exception):
    """Base of every error the arena raises on purpose.

    ``message`` is one sentence for the person at the screen or the terminal; ``status`` is the HTTP
    status the single handler in ``app.web.errors`` answers with; the command line exits with 1.
    """

    status: HTTPStatus = HTTPStatus.BAD_REQUEST

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        """What the machine said, for the terminal and the log: it may name hosts and users."""


class NotFoundError(ArenaError):
    """Something was named that does not exist (or must not be shown to this person)."""

    status = HTTPStatus.NOT_FOUND


class ConflictError(ArenaError):
    """The request contradicts what is already stored, for example a second, different vote."""

    status = HTTPStatus.CONFLICT


class BadInputError(ArenaError):
    """A file, form or option cannot be used as it stands."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class BadRowError(BadInputError):
    """One row of an imported file cannot be used; names the file and the line."""

    def __init__(self, source: str, line: int, reason: str) -> None:
        super().__init__(f"{source}, line {line}: {reason}")
        self.source = source
        self.line = line
        self.reason = reason


class TooLargeError(BadInputError):
    """More was sent than is taken at once."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class SignInRequiredError(ArenaError):
    """Nobody is signed in, or the session has ended."""

    status = HTTPStatus.UNAUTHORIZED


class ForbiddenError(ArenaError):
    """Somebody is signed in but may not do this."""

    status = HTTPStatus.FORBIDDEN


class TooManyError(ArenaError):
    """The same was asked too often in a short time; it may be asked again after ``retry_after`` seconds."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnavailableError(ArenaError):
    """The arena itself cannot serve right now: database, broker, disk or model missing."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class DatabaseAwayError(UnavailableError):
    """The database does not answer; it may come back, and whoever can wait should."""
