"""``/readyz``: whether everything is there that the arena's work needs; ``/healthz`` says that the page answers."""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import APIRouter, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from app.config import Settings
from app.db import Database, is_migrated
from app.domain.errors import UnavailableError
from app.domain.terms import Queue, Role
from app.jobs import broker_trouble
from app.queries.jobs import worker_alive
from app.web.deps import DatabaseDep, NowDep, SessionTokenDep, if_signed_in

router = APIRouter()

_KEPT_SECONDS = 1.0
"""Anybody may ask, so the parts are looked at once a second at most, however many ask."""


@dataclass(frozen=True)
class Part:
    """One thing that is needed, and what is wrong with it."""

    name: str
    ok: bool
    detail: str


@dataclass
class Readiness:
    """What was found last, kept for a moment."""

    database: Database
    settings: Settings
    _parts: tuple[Part, ...] = ()
    _found_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def parts(self) -> tuple[Part, ...]:
        """Database, tables, broker and workers as they are now, or were a moment ago."""
        with self._lock:
            if time.monotonic() - self._found_at >= _KEPT_SECONDS:
                self._parts = (*self._of_database(datetime.now(UTC)), self._broker())
                self._found_at = time.monotonic()
            return self._parts

    def _of_database(self, now: datetime) -> tuple[Part, ...]:
        try:
            with self.database.session_scope(write=False) as session:
                migrated = is_migrated(session)
                silent = [
                    queue.value
                    for queue in Queue
                    if migrated and not worker_alive(
                        session, queue=queue, now=now, stale_seconds=self.settings.stale_seconds
                    )
                ]  # fmt: skip
        except (UnavailableError, SQLAlchemyError) as error:
            away = Part("database", ok=False, detail=f"it does not answer ({type(error).__name__})")
            unknown = "the database was not there to be asked"
            return (away, Part("migrations", ok=False, detail=unknown), Part("workers", ok=False, detail=unknown))
        wrong = "" if migrated else "the tables are not those of this version; restart the page to migrate them"
        silence = f"no worker heard of lately for: {', '.join(silent)}" if silent else ""
        return (
            Part("database", ok=True, detail=""),
            Part("migrations", ok=migrated, detail=wrong),
            Part("workers", ok=migrated and not silent, detail=silence or wrong),
        )

    def _broker(self) -> Part:
        trouble = broker_trouble(self.settings)
        return Part("broker", ok=not trouble, detail=trouble)


def _is_admin(request: Request, token: str, database: Database, now: datetime) -> bool:
    try:
        account = if_signed_in(request, token, database, now)
    except (UnavailableError, SQLAlchemyError):  # then nobody can be known, and the answer is still owed
        return False
    return account is not None and account.role is Role.ADMIN


@router.get("/readyz")
def readyz(request: Request, token: SessionTokenDep, database: DatabaseDep, now: NowDep) -> Response:
    """200 when all parts are there, else 503. Only a signed-in admin is told what is wrong with them."""
    readiness: Readiness = request.app.state.readiness
    parts = readiness.parts()
    ready = all(part.ok for part in parts)
    told = {"ready": ready, "parts": {part.name: part.ok for part in parts}}
    if _is_admin(request, token, database, now):
        told["details"] = {part.name: part.detail for part in parts if part.detail}
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse(told, status_code=status, headers={"Cache-Control": "no-store"})
