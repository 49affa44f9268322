"""Importing comparisons that were made elsewhere: gathered, planned, and stored some thousand rows at a time.

Each portion is one transaction. Broken off and given again, an import goes on behind the last portion;
given again when it is complete, it changes nothing.
"""

import gc
import hashlib
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from gzip import GzipFile
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import Database
from app.domain.errors import BadInputError
from app.domain.imports.formats import read
from app.domain.imports.items import Log
from app.domain.imports.tables import Source
from app.domain.terms import BatchState, Domain
from app.models import EvalBatch, Pair
from app.queries.leaks import names_of
from app.services import import_plan
from app.services.events import announce
from app.services.import_gather import Gathered
from app.services.import_plan import Begun, ImportPlan
from app.services.import_store import store_beside, store_here
from app.services.import_write import Writer

_GZIP = b"\x1f\x8b"

_FEW = 3
"""Portions that are stored before another process would have started."""


def gather(name: str, paths: Iterable[Path], log: Log, domain: Domain = Domain.OUT_OF_DOMAIN) -> Gathered:
    """Read files of one format; the same content given twice is read once.

    ``domain``: where prompts lie of which the files do not tell it.

    Raises:
        BadInputError: a file cannot be read, is not of the format, or nothing in them can be taken.
    """
    seen, sources = set[str](), list[Source]()
    with ExitStack() as stack, _no_cycles():
        for path in paths:
            try:
                file: Any = stack.enter_context(path.open("rb"))
                if file.peek(len(_GZIP))[: len(_GZIP)] == _GZIP:
                    file = stack.enter_context(GzipFile(fileobj=file))
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
            except (EOFError, OSError, zlib.error) as error:  # the first and the last for a broken archive
                why = getattr(error, "strerror", None) or error
                raise BadInputError(f"{path} cannot be read to its end ({why}). Nothing was imported.") from error
            if digest in seen:
                log.note(path.name, 0, "the same content was given twice; it was read once")
                continue
            seen.add(digest)
            sources.append(Source("/".join(path.absolute().parts[-2:]), file))
        if not sources:
            raise BadInputError("Nothing was imported: no file was given.")
        return Gathered(name, log, domain).take(read(name, sources, log))


class Stored(NamedTuple):
    """An import that is stored."""

    complete: bool
    """All of it was there before; nothing was done."""
    before: int
    """Verdicts that were there before."""


def run(
    database: Database, gathered: Gathered, planned: ImportPlan, *, secret: bytes, clock: Callable[[], datetime],
    told: Callable[[int], object],
) -> Stored:  # fmt: skip
    """Store all that is not stored yet.

    Args:
        database: where.
        gathered: what the files hold.
        planned: what is made of it.
        secret: of the seals.
        clock: the time.
        told: hears how many verdicts are on their way or stored, those of an earlier attempt first.

    Raises:
        ConflictError: the name is taken by something else.
        UnavailableError: the database fails; whole portions stay.
    """
    with database.session_scope() as session:
        begun = begin(session, gathered, planned, secret=secret, now=clock())
    if begun.complete:
        return Stored(complete=True, before=len(gathered.verdicts))
    writer = Writer(gathered, planned, begun, secret=secret)
    before = writer.ballots_of(range(begun.stored))
    told(before)
    portions = list(writer.portions())
    with _no_cycles(), store_beside(database) if len(portions) > _FEW else store_here(database) as put:
        for portion in portions:
            put(writer.rows(portion))
            told(writer.ballots_of(portion))
    with database.session_scope() as session:
        finish(session, begun.batch_id, now=clock())
    return Stored(complete=False, before=before)


def begin(session: Session, gathered: Gathered, planned: ImportPlan, *, secret: bytes, now: datetime) -> Begun:
    """Make the eval batch, or find it again. Nobody votes in it; it closes at the end.

    Raises:
        ConflictError: the name is taken by something else.
    """
    batch = import_plan.begin(session, gathered, planned, secret=secret, now=now)
    stored = session.scalar(select(func.count(Pair.id)).where(Pair.eval_batch_id == batch.id)) or 0
    return Begun(
        batch_id=batch.id,
        seal=batch.seal,
        created_at=batch.created_at,
        names=names_of(session, batch.id),
        dialect=session.get_bind().dialect.name,
        complete=batch.state is BatchState.CLOSED,
        stored=stored,
    )


def finish(session: Session, batch_id: uuid.UUID, *, now: datetime) -> None:
    """Close it: everything is there."""
    batch = session.get_one(EvalBatch, batch_id)
    if batch.state is BatchState.CLOSED:
        return
    batch.state, batch.closed_at = BatchState.CLOSED, now
    announce(session, "pairs", batch.id, now=now)
    announce(session, "verdicts", batch.id, now=now)
    session.flush()


@contextmanager
def _no_cycles() -> Iterator[None]:
    """Without the search for cycles: there are millions of small tuples, and a tenth of the time would go into it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
